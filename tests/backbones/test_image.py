import inspect

import pytest
import timm
import torch
from torch import nn

from ssl_dml.backbones import TimmBackbone
from ssl_dml.types import ConfigError, ImageSpec


def spec(channels=1, size=28):
    return ImageSpec(channels=channels, size=size, mean=(0.5,) * channels, std=(0.2,) * channels)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("stem", ["auto", "small", "standard"])
def test_any_channels_and_stem(channels, stem):
    backbone = TimmBackbone(spec(channels), name="resnet18", stem=stem, width=0.25)
    features = backbone(torch.randn(2, channels, 28, 28))
    assert features.shape == (2, backbone.feature_dim) == (2, 128)


def test_small_images_keep_their_resolution_and_large_ones_do_not():
    for size, side in ((28, 28), (96, 24)):
        network = TimmBackbone(spec(1, size), name="resnet18", width=0.25).network
        x = network.maxpool(network.conv1(torch.zeros(1, 1, size, size)))
        assert x.shape[-1] == side


def test_width_scales_parameters_as_its_square():
    counts = [
        sum(p.numel() for p in TimmBackbone(spec(), name="resnet18", width=w).parameters())
        for w in (0.25, 0.5)
    ]
    assert 3.8 < counts[1] / counts[0] < 4.1


def test_full_width_is_timms_network():
    backbone = TimmBackbone(spec(3, 224), name="resnet18")
    assert backbone.network.conv1.kernel_size == (7, 7)
    assert sum(p.numel() for p in backbone.parameters()) == 11_176_512


def test_runs_channels_last():
    backbone = TimmBackbone(spec(3), name="resnet18", width=0.25)
    weight = backbone.network.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mobilenetv3_small_050", {}),
        ("vit_tiny_patch16_224", {"options": {"patch_size": 8}}),
    ],
)
def test_other_families(name, arguments):
    backbone = TimmBackbone(spec(3, 32), name=name, **arguments).eval()
    assert backbone(torch.randn(2, 3, 32, 32)).shape == (2, backbone.feature_dim)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "resnet19"}, "timm has no network 'resnet19'; it has "),
        ({"name": "resnet18", "width": 0.0}, r"width must be positive, got 0\.0"),
        ({"name": "vit_tiny_patch16_224", "width": 0.5}, "width is for ResNets"),
        ({"name": "vit_tiny_patch16_224", "stem": "small"}, "stem 'small' is for ResNets"),
        ({"name": "resnet18", "options": {"layrs": 3}}, "cannot be built so: .*layrs"),
    ],
)
def test_refuses_what_cannot_be_built(arguments, words):
    with pytest.raises(ValueError, match=words):
        TimmBackbone(spec(), **arguments)


def test_a_network_keeps_a_deep_stem_of_its_own():
    deep = TimmBackbone(spec(3, size=224), name="resnet10t", stem="standard")
    assert isinstance(deep.network.conv1, nn.Sequential)
    narrow = TimmBackbone(spec(3, size=224), name="resnet18", stem="standard", width=0.5)
    assert isinstance(narrow.network.conv1, nn.Conv2d)


def test_weights_on_disk_are_fitted_to_the_channels():
    torch.manual_seed(1)
    other = timm.create_model("resnet10t", num_classes=7)
    backbone = TimmBackbone(spec(1, size=224), name="resnet10t", stem="standard")
    backbone.load_weights(other.state_dict())
    assert torch.equal(backbone.network.bn1.weight, other.bn1.weight)
    assert torch.equal(backbone.network.layer2[0].conv1.weight, other.layer2[0].conv1.weight)


def test_every_option_that_loads_is_refused():
    parameters = inspect.signature(timm.create_model).parameters
    harmless = {"scriptable", "exportable", "no_jit", "kwargs"}
    loading = set(parameters) - harmless
    assert {"pretrained", "checkpoint_path", "pretrained_cfg_overlay"} < loading
    for key in [*loading, "pretrained_filter_fn", "pretrained_model_args"]:
        words = (
            rf"^backbone\.options\.{key} is 'here', and options load no weights, files or "
            "addresses; remove it, and load weights with --init FILE or --init timm:NAME$"
        )
        with pytest.raises(ConfigError, match=words):
            TimmBackbone(spec(), name="resnet18", options={key: "here"})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "hf-hub:user/resnet18",
            "no address or folder; load weights with --init FILE or --init timm:NAME",
        ),
        ("hf_hub:timm/resnet18.a1_in1k", "no address or folder; load"),
        ("local-dir:/tmp/resnet18", "no address or folder; load"),
        ("user/resnet18", "no address or folder; load"),
        ("resnet18.a1_in1k", "tag 'a1_in1k' asks for weights, .*; set it to resnet18, and load"),
    ],
)
def test_names_that_ask_for_weights_are_refused(name, words):
    with pytest.raises(ConfigError, match=rf"^backbone\.name is '{name}', and .*{words}"):
        TimmBackbone(spec(), name=name)
