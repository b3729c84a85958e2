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
from timm.models import adapt_input_conv

from ssl_dml.backbones import SequenceBackbone, TimmBackbone
from ssl_dml.backbones.weights import fit_weights
from ssl_dml.types import ImageSpec, SequenceSpec

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


def take(taker, path):
    """Load a file as a run does, and what is said of it."""
    return taker.load_weights(path)


def assert_equal(network, state, but=()):
    own = network.state_dict()
    assert set(but) < set(own)
    for name, value in own.items():
        assert torch.equal(value, state[name]) == (name not in but), name


def assert_refused(taker, path, words):
    before = {name: value.clone() for name, value in taker.state_dict().items()}
    with pytest.raises(ValueError, match=words) as caught:
        take(taker, path)
    assert "\n" not in str(caught.value)
    assert_equal(taker, before)


@pytest.mark.parametrize("name", ["resnet18", VIT])
@pytest.mark.parametrize("suffix", [".pth", ".bin", ".safetensors"])
def test_every_tensor_is_that_of_the_file(states, tmp_path, name, suffix):
    taker = backbone(name)
    take(taker, written(states[name], tmp_path / f"weights{suffix}"))
    assert_equal(taker.network, states[name])


def test_a_vision_transformer_of_full_depth(tmp_path):
    taker = backbone(VIT, options={})
    take(taker, written(drawn(VIT), tmp_path / "weights.safetensors"))
    assert_equal(taker.network, drawn(VIT))


@pytest.mark.parametrize("section", ["state_dict", "model", "state_dict_ema"])
def test_a_file_of_timms_training_script(states, tmp_path, section):
    older = {name: value + 1 for name, value in states["resnet18"].items()}
    content = {"arch": "resnet18", "args": Namespace(lr=0.1), "state_dict": older}
    torch.save({**content, section: states["resnet18"]}, tmp_path / "weights.pth.tar")
    taker = backbone()
    take(taker, tmp_path / "weights.pth.tar")
    # It takes averaged weights first, then those under state_dict.
    assert_equal(taker.network, older if section == "model" else states["resnet18"])


@pytest.mark.parametrize(("name", "first"), [("resnet18", "conv1"), (VIT, "patch_embed.proj")])
@pytest.mark.parametrize("channels", [1, 5])
def test_the_first_convolution_is_fitted_to_the_channels(states, tmp_path, name, first, channels):
    path = written(states[name], tmp_path / "weights.safetensors")
    taker = backbone(name, channels=channels)
    take(taker, path)
    first += ".weight"
    assert_equal(taker.network, states[name], but=[first])
    theirs = states[name][first]
    expected = (
        theirs.sum(dim=1, keepdim=True) if channels == 1 else theirs[:, [0, 1, 2, 0, 1]] * 3 / 5
    )
    torch.testing.assert_close(taker.network.get_parameter(first), expected)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("prefix", ["", "module.encoder_q."])
def test_a_narrow_network_takes_other_channels(tmp_path, channels, size, prefix):
    narrow = {"width": 0.125, "options": {"layers": [1, 1, 1, 1]}, "size": size}
    state = {
        name: torch.randn_like(value) if value.is_floating_point() else value
        for name, value in backbone(**narrow).network.state_dict().items()
    }
    taker = backbone(channels=channels, **narrow)
    content = {prefix + name: value for name, value in state.items()}
    take(taker, written(content, tmp_path / "weights.pth"))
    assert_equal(taker.network, state, but=["conv1.weight"])
    expected = adapt_input_conv(channels, state["conv1.weight"].clone())
    assert torch.equal(taker.network.conv1.weight, expected)


def test_positions_are_fitted_to_the_size(states, tmp_path):
    path = written(states[VIT], tmp_path / "weights.pth")
    taker = backbone(VIT, size=96)
    take(taker, path)
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
    take(taker, written(state, tmp_path / "weights.pth"))
    values = {value.numpy().tobytes() for value in state.values()}
    assert "stem.0.weight" in state
    for name, value in taker.network.state_dict().items():
        assert value.contiguous().numpy().tobytes() in values, name


def test_counters_may_be_missing(states, tmp_path):
    older = {n: v for n, v in states["resnet18"].items() if not n.endswith("num_batches_tracked")}
    taker = backbone()
    take(taker, written(older, tmp_path / "weights.pth"))
    assert torch.equal(taker.network.bn1.running_var, older["bn1.running_var"])


def test_nothing_is_drawn(states, tmp_path):
    taker = backbone(channels=1)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    take(taker, written(states["resnet18"], tmp_path / "weights.pth"))
    assert torch.equal(torch.rand(2), expected)


PREFIXES = (
    "module.",
    "backbone.",
    "module.encoder_q.",
    "student.backbone.",
    "_orig_mod.",
    "a.b.c.",
)


@pytest.mark.parametrize("section", [None, "state_dict", "model.online"])
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", ["resnet18", VIT])
def test_any_prefix_is_found(states, tmp_path, prefix, name, section):
    content = {prefix + key: value for key, value in states[name].items()}
    content |= {"projector.0.weight": torch.ones(3, 3), "projector.0.bias": torch.ones(3)}
    for key in reversed(section.split(".") if section else []):
        content = {key: content, "epoch": 3, "optimizer": {"state": {0: {"m": torch.ones(2)}}}}
    taker = backbone(name)
    report = take(taker, written(content, tmp_path / "weights.pth"))
    assert_equal(taker.network, states[name])
    where = f"{section} {prefix}" if section else prefix
    total = sum(value.is_floating_point() for value in taker.network.state_dict().values())
    assert report.startswith(f"all {total} tensors found under {where}; ")
    assert report.endswith(" others of this section left")


def test_behind_a_prefix_channels_and_sizes_are_fitted_too(states, tmp_path):
    other = {f"encoder.{key}": value for key, value in states[VIT].items()}
    taker = backbone(VIT, size=96, channels=1)
    take(taker, written(other, tmp_path / "weights.pth"))
    assert_equal(taker.network, states[VIT], but=["pos_embed", "patch_embed.proj.weight"])


def behind(prefix, state, add=0.0):
    return {
        prefix + key: value + add if value.is_floating_point() else value
        for key, value in state.items()
    }


@pytest.mark.parametrize(
    ("chosen", "other"),
    [
        (("state_dict", "module.encoder_q."), ("state_dict", "module.encoder_k.")),
        (("state_dict", "module.base_encoder."), ("state_dict", "module.momentum_encoder.")),
        (("state_dict", "backbone."), ("state_dict", "momentum_backbone.")),
        (("teacher", "backbone."), ("student", "module.backbone.")),
        (("state_dict", "online_network."), ("state_dict", "target_network.")),
        (("state_dict_ema", ""), ("state_dict", "")),
        (("model", "backbone.network."), ("model", "teacher.network.network.")),
        (("state_dict", "monkey."), ("state_dict", "key_encoder.")),
    ],
)
def test_of_two_encoders_one_is_chosen_and_both_are_said(states, tmp_path, chosen, other):
    content = {}
    for (section, prefix), add in ((other, 1.0), (chosen, 0.0)):
        content.setdefault(section, {}).update(behind(prefix, states["resnet18"], add))
    taker = backbone()
    report = take(taker, written(content, tmp_path / "weights.pth"))
    assert_equal(taker.network, states["resnet18"])
    assert report.startswith(f"all 100 tensors found under {' '.join(filter(None, chosen))}")
    assert f"{' '.join(filter(None, other))} would fit too" in report


def in_other_words(state):
    """The same tensors in the same order, under names of another library."""
    renamed = {}
    for number, (key, value) in enumerate(state.items()):
        renamed[f"features.{number}.{key.rpartition('.')[2]}"] = value
    return renamed


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "first"), [("resnet18", "conv1.weight"), (VIT, None)])
def test_other_names_in_the_same_order(states, tmp_path, name, first, channels):
    taker = backbone(name, channels=channels)
    report = take(taker, written(in_other_words(states[name]), tmp_path / "weights.pth"))
    but = [] if channels == 3 else [first or "patch_embed.proj.weight"]
    own = taker.network.state_dict()
    for key, value in own.items():
        if value.is_floating_point() and key not in but:
            assert torch.equal(value, states[name][key]), key
    assert "names differ and order and shapes agree: " in report
    assert report.endswith("; 2 others of this section left")  # the classifier


def test_other_names_beside_those_of_a_projector(states, tmp_path):
    other = {f"encoder.{name}": value for name, value in in_other_words(states["resnet18"]).items()}
    other |= {"head.0.weight": torch.ones(8, 512), "head.1.running_mean": torch.ones(8)}
    taker = backbone()
    report = take(taker, written({"state_dict": other}, tmp_path / "weights.pth"))
    own = {n: v for n, v in taker.network.state_dict().items() if v.is_floating_point()}
    assert all(torch.equal(value, states["resnet18"][name]) for name, value in own.items())
    assert "found under state_dict encoder.; names differ" in report
    assert report.endswith("; 4 others of this section left")


def moved(state, key):
    return {**{name: value for name, value in state.items() if name != key}, key: state[key]}


@pytest.mark.parametrize(
    "change",
    [
        lambda state: moved(state, "layer1.0.conv1.weight"),
        lambda state: {**state, "extra.running_mean": torch.ones(3)},
        lambda state: {"extra.weight": torch.ones(3), **state},
        lambda state: {name: value for name, value in state.items() if name != "bn1.bias"},
        lambda state: {name: value for name, value in state.items() if "running_var" not in name},
    ],
)
def test_other_names_in_another_order_are_refused(states, tmp_path, caplog, change):
    path = written(in_other_words(change(states["resnet18"])), tmp_path / "weights.pth")
    words = (
        r"0 of its 100 tensors found, conv1.weight missing, features.0.weight of the file unused; "
        "set name, stem, width and options of the backbone to those of the weights"
    )
    assert_refused(backbone(), path, words)
    assert not caplog.records


def test_values_that_are_not_finite_are_refused(states, tmp_path):
    broken = {**states["resnet18"], "layer2.0.bn1.weight": torch.full((128,), torch.nan)}
    path = written(broken, tmp_path / "weights.pth")
    assert_refused(backbone(), path, "layer2.0.bn1.weight has values that are not finite")


def test_a_network_that_is_not_of_timm_finds_its_prefix():
    spec = SequenceSpec(channels=1, length=640, mean=(0.0,), std=(1.0,))
    given, taker = (SequenceBackbone(spec, width=8, context_dim=8) for _ in range(2))
    content = {"model": {f"backbone.{n}": v for n, v in given.state_dict().items()}}
    fitted = fit_weights(content, taker)
    assert fitted.report.startswith("all ")
    taker.load_state_dict(fitted.state)
    assert_equal(taker, given.state_dict())


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


def test_what_is_left_is_said_by_group(states, tmp_path):
    content = {f"backbone.{name}": value for name, value in states["resnet18"].items()}
    content |= {f"projector.{i}.weight": torch.ones(3) for i in range(6)}
    report = take(backbone(), written(content, tmp_path / "weights.pth"))
    where = "all 100 tensors found under backbone.; left: projector 6, fc 2; "
    assert report == where + "8 others of this section left"


def test_the_share_that_is_found_is_said(states, tmp_path):
    state = {name: value for name, value in states["resnet18"].items() if "layer4" not in name}
    words = r"75 of its 100 tensors found, layer4.0.conv1.weight .*75% of the network is"
    assert_refused(backbone(), written(state, tmp_path / "weights.pth"), words)
