"""What timm converts comes from the file; what it leaves random is left out."""

import pytest
import timm
import torch
from timm.models import adapt_input_conv

from ssl_dml.backbones.conversion import converted, with_channels

NETWORK = {"model_name": "test_vit", "num_classes": 0}


def test_channels_and_positions_are_converted_and_nothing_is_random():
    given = {
        name: torch.randn_like(value)
        for name, value in timm.create_model("test_vit").state_dict().items()
    }
    wanted = {**NETWORK, "in_chans": 1, "img_size": 96}
    found = converted(given, wanted)
    own = timm.create_model(**wanted).state_dict()
    assert found.keys() == own.keys()
    assert all(found[name].shape == value.shape for name, value in own.items())
    assert torch.equal(found["blocks.0.attn.qkv.weight"], given["blocks.0.attn.qkv.weight"])


def test_a_tensor_that_the_file_lacks_is_left_out():
    given = timm.create_model("test_vit").state_dict()
    del given["norm.weight"]
    assert "norm.weight" not in converted(given, NETWORK)
    assert "norm.bias" in converted(given, NETWORK)
    assert converted({"x": torch.ones(1)}, NETWORK) == {}


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_a_first_kernel_is_that_of_timm(channels):
    kernel, own = torch.randn(5, 3, 2, 2), torch.zeros(5, channels, 2, 2)
    fitted = with_channels(kernel, own, channels)
    assert torch.equal(fitted, adapt_input_conv(channels, kernel.clone()))


def test_a_kernel_of_one_channel_is_shared_by_those_of_the_network():
    kernel = torch.randn(5, 1, 2, 2)
    fitted = with_channels(kernel, torch.zeros(5, 3, 2, 2), 3)
    torch.testing.assert_close(fitted.sum(dim=1, keepdim=True), kernel)


def test_a_kernel_of_another_size_stays():
    kernel = torch.randn(5, 3, 7, 7)
    assert with_channels(kernel, torch.zeros(5, 1, 3, 3), 1) is kernel
    assert with_channels(kernel, torch.zeros(4, 1, 7, 7), 1) is kernel
    assert with_channels(kernel, torch.zeros(5, 12, 7, 7), 1) is kernel
