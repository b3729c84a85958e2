"""Weights from a file: all of a network, or an error."""

import pickle
from argparse import Namespace
from functools import cache

import pytest
import timm
import torch
import torchvision
from payload import Payload
from safetensors.torch import save_file

from ssl_dml.backbones import TimmBackbone
from ssl_dml.types import ImageSpec

VIT = "vit_tiny_patch16_224"
SHORT = {VIT: {"depth": 2}}


@cache
def drawn(name, **arguments):
    """The state of a network of timm with its classifier, no two values of it alike."""
    generator = torch.Generator().manual_seed(len(name))
    return {
        key: torch.randn(value.shape, generator=generator)
        if value.is_floating_point()
        else value + 7
        for key, value in timm.create_model(name, **arguments).state_dict().items()
    }


@pytest.fixture(scope="module")
def states():
    return {"resnet18": drawn("resnet18"), VIT: drawn(VIT, **SHORT[VIT])}


def backbone(name="resnet18", channels=3, size=224, **arguments):
    spec = ImageSpec(channels=channels, size=size, mean=(0.5,) * channels, std=(0.2,) * channels)
    return TimmBackbone(spec, name=name, **{"options": SHORT.get(name), **arguments})


def written(state, path):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def assert_equal(network, state, but=()):
    own = network.state_dict()
    assert set(but) < set(own)
    for name, value in own.items():
        assert torch.equal(value, state[name]) == (name not in but), name


def assert_refused(taker, path, words):
    before = {name: value.clone() for name, value in taker.state_dict().items()}
    with pytest.raises(ValueError, match=words) as caught:
        taker.load_weights(path)
    message = str(caught.value)
    assert message.startswith(f"{path} does not fit {taker.arguments['model_name']} ")
    assert "\n" not in message
    assert_equal(taker, before)


@pytest.mark.parametrize("name", ["resnet18", VIT])
@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_every_tensor_is_that_of_the_file(states, tmp_path, name, suffix):
    taker = backbone(name)
    taker.load_weights(written(states[name], tmp_path / f"weights{suffix}"))
    assert_equal(taker.network, states[name])


def test_a_vision_transformer_of_full_depth(tmp_path):
    taker = backbone(VIT, options={})
    taker.load_weights(written(drawn(VIT), tmp_path / "weights.safetensors"))
    assert_equal(taker.network, drawn(VIT))


@pytest.mark.parametrize("section", ["state_dict", "model", "state_dict_ema"])
def test_a_file_of_timms_training_script(states, tmp_path, section):
    older = {name: value + 1 for name, value in states["resnet18"].items()}
    content = {"arch": "resnet18", "args": Namespace(lr=0.1), "state_dict": older}
    torch.save({**content, section: states["resnet18"]}, tmp_path / "weights.pth.tar")
    taker = backbone()
    taker.load_weights(tmp_path / "weights.pth.tar")
    # It takes averaged weights first, then those under state_dict.
    assert_equal(taker.network, older if section == "model" else states["resnet18"])


@pytest.mark.parametrize(("name", "first"), [("resnet18", "conv1"), (VIT, "patch_embed.proj")])
@pytest.mark.parametrize("channels", [1, 5])
def test_the_first_convolution_is_fitted_to_the_channels(states, tmp_path, name, first, channels):
    path = written(states[name], tmp_path / "weights.safetensors")
    taker = backbone(name, channels=channels)
    taker.load_weights(path)
    first += ".weight"
    assert_equal(taker.network, states[name], but=[first])
    theirs = states[name][first]
    expected = (
        theirs.sum(dim=1, keepdim=True) if channels == 1 else theirs[:, [0, 1, 2, 0, 1]] * 3 / 5
    )
    torch.testing.assert_close(taker.network.get_parameter(first), expected)


def test_positions_are_fitted_to_the_size(states, tmp_path):
    path = written(states[VIT], tmp_path / "weights.pth")
    taker = backbone(VIT, size=96)
    taker.load_weights(path)
    assert_equal(taker.network, states[VIT], but=["pos_embed"])
    file = {"file": str(path), "custom_load": False}
    theirs = timm.create_model(
        VIT, depth=2, img_size=96, pretrained=True, pretrained_cfg_overlay=file
    )
    assert torch.equal(taker.network.pos_embed, theirs.pos_embed)


def test_names_that_timm_knows_how_to_change(tmp_path):
    state = torchvision.models.regnet_y_400mf().state_dict()
    state = {n: torch.randn_like(v) if v.is_floating_point() else v for n, v in state.items()}
    taker = backbone("regnety_004")
    taker.load_weights(written(state, tmp_path / "weights.pth"))
    values = {value.numpy().tobytes() for value in state.values()}
    assert "stem.0.weight" in state
    for name, value in taker.network.state_dict().items():
        assert value.contiguous().numpy().tobytes() in values, name


def test_counters_may_be_missing(states, tmp_path):
    older = {n: v for n, v in states["resnet18"].items() if not n.endswith("num_batches_tracked")}
    taker = backbone()
    taker.load_weights(written(older, tmp_path / "weights.pth"))
    assert torch.equal(taker.network.bn1.running_var, older["bn1.running_var"])


def test_nothing_is_drawn(states, tmp_path):
    taker = backbone(channels=1)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    taker.load_weights(written(states["resnet18"], tmp_path / "weights.pth"))
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("prefix", ["module.", "backbone."])
@pytest.mark.parametrize(
    ("name", "total", "first"), [("resnet18", 100, "conv1.weight"), (VIT, 30, "cls_token")]
)
def test_other_names_are_refused(states, tmp_path, caplog, prefix, name, total, first):
    other = {prefix + key: value for key, value in states[name].items()}
    words = (
        rf"0 of its {total} tensors found, {first} missing, {prefix}{first} of the file unused; "
        "set name, stem, width and options of the backbone to those of the weights"
    )
    assert_refused(backbone(name), written(other, tmp_path / "weights.pth"), words)
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "mobilenetv3_small_050",
            "0 of its 100 tensors found, conv1.weight missing, conv_stem.weight of",
        ),
        (
            "resnet50",
            r"7[67] of its 100 tensors found, layer1.0.conv1.weight missing \(64x64x3x3 here, "
            r"64x64x1x1 in the file\), layer1.0.conv3.weight of the file unused; set name, ",
        ),
        ("resnet34", "100 of its 100 tensors found, layer1.2.conv1.weight of the file unused"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_another_network_is_refused(tmp_path, name, words, channels):
    path = written(drawn(name), tmp_path / "weights.pth")
    assert_refused(backbone(channels=channels), path, words)


def test_another_library_is_refused(tmp_path):
    state = torchvision.models.mobilenet_v3_small().state_dict()
    path = written(state, tmp_path / "weights.pth")
    words = "conv_stem.weight missing, features.0.0.weight of the file unused"
    assert_refused(backbone("mobilenetv3_small_100"), path, words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 32}, r"99 of its 100 .* conv1.weight missing \(64x3x3x3 here, 64x3x7x7 in"),
        ({"width": 0.5}, r"0 of its 100 .* bn1.weight missing \(32 here, 64 in the file\); set"),
        ({"options": {"layers": [2, 2, 2, 1]}}, r"layer4.1.conv1.weight of the file unused"),
        ({"options": {"layers": [2, 2, 2, 3]}}, r"100 of its 110 .* layer4.2.conv1.weight missing"),
    ],
)
def test_another_form_of_the_network_is_refused(states, tmp_path, arguments, words):
    path = written(states["resnet18"], tmp_path / "weights.pth")
    assert_refused(backbone(**arguments), path, words)


@pytest.mark.parametrize(
    ("name", "total", "missing", "channels"),
    [
        ("resnet18", 100, "conv1.weight", 3),
        ("resnet18", 100, "conv1.weight", 1),
        ("resnet18", 100, "layer3.1.bn2.running_var", 1),
        (VIT, 30, "blocks.1.attn.qkv.bias", 3),
        (VIT, 30, "patch_embed.proj.weight", 1),
    ],
)
def test_one_missing_tensor_is_named(states, tmp_path, name, total, missing, channels):
    state = {key: value for key, value in states[name].items() if key != missing}
    path = written(state, tmp_path / "weights.pth")
    words = f"{total - 1} of its {total} tensors found, {missing} missing; set name, stem, width"
    assert_refused(backbone(name, channels=channels), path, words)


def test_the_same_names_of_other_shapes_are_refused(states, tmp_path):
    other = {name: value[..., None] for name, value in states[VIT].items()}
    words = r"0 of its 30 .* cls_token missing \(1x1x192 here, 1x1x192x1 in the file\); set"
    assert_refused(backbone(VIT), written(other, tmp_path / "weights.pth"), words)


def test_integers_are_no_weights(states, tmp_path):
    quantized = {name: value.to(torch.int8) for name, value in states["resnet18"].items()}
    path = written(quantized, tmp_path / "weights.pth")
    assert_refused(backbone(), path, "0 of its 100 tensors found, bn1.weight missing; set")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "0 of its 100 tensors found, conv1.weight missing; set"),
        ({"state_dict": {}}, "0 of its 100 tensors found, conv1.weight missing; set"),
        ({"epoch": 3}, "0 of its 100 tensors found, conv1.weight missing; set"),
        ([torch.zeros(2)], "it holds a list, and no tensors by name"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_without_weights_is_refused(tmp_path, content, words, channels):
    path = written(content, tmp_path / "weights.pth")
    assert_refused(backbone(channels=channels), path, words)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "weights.npz"])
@pytest.mark.parametrize("content", [b"", b"no weights\n", b"PK\x03\x04" + bytes(60)])
def test_a_foreign_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert_refused(backbone(), tmp_path / name, "it (cannot be read|holds more than tensors)")


def test_a_file_that_is_not_there(tmp_path):
    assert_refused(backbone(), tmp_path / "nowhere.pth", "there is no such file")


@pytest.mark.parametrize(
    "write", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x, 2))]
)
def test_a_file_that_would_run_code_does_not(states, tmp_path, write):
    path, marker = tmp_path / "weights.pth", tmp_path / "ran"
    write({**states["resnet18"], "extra": Payload(marker)}, path)
    words = r"it holds more than tensors; save the state_dict\(\) of its network"
    assert_refused(backbone(), path, words)
    assert not marker.exists()
    if write is torch.save:
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert marker.exists()


def test_a_pickled_network_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(timm.create_model("resnet10t"), path)
    assert_refused(backbone(), path, "it holds more than tensors")
