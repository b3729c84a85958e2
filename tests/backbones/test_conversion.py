"""What timm converts comes from the file; what it leaves random is left out."""

import timm
import torch

from ssl_dml.backbones.conversion import converted

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
