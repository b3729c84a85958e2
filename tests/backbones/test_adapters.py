"""Adapters: at first they change nothing, and merged they are the network that was trained."""

import copy
import re
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ssl_dml.backbones import (
    Backbone,
    Chunked,
    PatchBackbone,
    SequenceBackbone,
    TimmBackbone,
    load,
    save,
)
from ssl_dml.backbones.adapters import add_adapters, without_adapters
from ssl_dml.types import ImageSpec, SequenceSpec

IMAGES = ImageSpec(channels=1, size=16, mean=(0.5,), std=(0.25,))
AUDIO = SequenceSpec(channels=1, length=40, mean=(0.0,), std=(1.0,))
RESNET = {
    "name": "resnet18",
    "width": 0.125,
    "options": {"layers": [1, 1, 1, 1], "zero_init_last": False},
}
VIT = {
    "name": "vit_tiny_patch16_224",
    "options": {"patch_size": 8, "img_size": 16, "embed_dim": 32, "num_heads": 2, "depth": 2},
}
CONVNEXT = {
    "name": "convnext_atto",
    "options": {
        "depths": [1, 1, 1, 1],
        "dims": [8, 8, 16, 16],
        "patch_size": 1,
        "ls_init_value": 1.0,
    },
}
BEIT = {"name": "beit_base_patch16_224", "options": {**VIT["options"]}}
NETWORKS = {
    "resnet": lambda: TimmBackbone(IMAGES, **RESNET),
    "vit": lambda: TimmBackbone(IMAGES, **VIT),
    "convnext": lambda: TimmBackbone(IMAGES, **CONVNEXT),
    "beit": lambda: TimmBackbone(IMAGES, **BEIT),
    "patches": lambda: PatchBackbone(IMAGES, patch=8, stride=4, **RESNET),
    "gru": lambda: SequenceBackbone(AUDIO, width=8, strides=[2], kernels=[4], context_dim=8),
    "transformer": lambda: SequenceBackbone(
        AUDIO, width=8, strides=[2], kernels=[4], context="transformer", context_dim=16, heads=2
    ),
    "waves": lambda: Waves(),  # noqa: PLW0108 - below
}


def samples(network, count=4):
    extent = (network.inputs.size,) * 2 if network.inputs is IMAGES else (network.inputs.length,)
    return torch.randn(count, 1, *extent)


def moved(network, rank=2):
    """With adapters that do something."""
    add_adapters(network, rank)
    for parameter in network.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.2)
    return network


def adapted(network):
    """Names of the layers that have adapters."""
    named = {name for name, _ in network.named_parameters() if ".lora_A." in name}
    return {name.partition(".lora_A.")[0] for name in named}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_adapted_network_is_at_first_the_one_that_it_was(name):
    network = NETWORKS[name]()
    given, before = samples(network), copy.deepcopy(network)
    assert add_adapters(network, 2) == len(adapted(network)) > 0
    with torch.no_grad():  # with gradients, torch attends to a trained mask by another kernel
        assert torch.equal(network.eval()(given), before.eval()(given))
    merged = without_adapters(network).state_dict()
    assert list(merged) == list(before.state_dict())
    assert all(torch.equal(value, merged[n]) for n, value in before.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_adapter_learns_and_nothing_else(name):
    network = moved(NETWORKS[name]()).train()
    before = copy.deepcopy(network.state_dict())
    network(samples(network)).square().sum().backward()
    torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1).step()
    found = {n for n, value in network.state_dict().items() if not torch.equal(value, before[n])}
    assert found == {n for n in before if ".lora_" in n}


@pytest.mark.parametrize("name", NETWORKS)
def test_merged_weights_give_the_features_of_the_adapters(name):
    network = moved(NETWORKS[name]()).eval()
    plain, given = NETWORKS[name]().eval(), samples(network)
    state = copy.deepcopy(network.state_dict())
    plain.load_state_dict(without_adapters(network).state_dict())
    assert_close(plain(given), network(given), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, state[n]) for n, value in network.state_dict().items())


def test_a_linear_layer_is_its_weight_and_twice_the_product():
    network = moved(NETWORKS["vit"]())
    layer = network.network.blocks[0].mlp.fc1
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    merged = without_adapters(network).network.blocks[0].mlp.fc1.weight
    assert (down.shape, up.shape) == ((2, 32), (128, 2))
    assert_close(merged, layer.base_layer.weight + 2 * up @ down)


def test_which_layers_have_adapters():
    vit = NETWORKS["vit"]()
    add_adapters(vit, 2)
    parts = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert adapted(vit) == {f"network.blocks.{i}.{part}" for i in (0, 1) for part in parts}
    convnext = NETWORKS["convnext"]()
    add_adapters(convnext, 2)
    assert "network.stages.1.downsample.1" in adapted(convnext)
    assert not any("conv_dw" in name for name in adapted(convnext))  # depthwise
    beit = NETWORKS["beit"]()
    add_adapters(beit, 2)
    assert not any("qkv" in name for name in adapted(beit))  # its weight is read, never called
    assert "network.blocks.0.attn.proj" in adapted(beit)


class Waves(Backbone):
    """A network of one's own for sequences."""

    def __init__(self):
        super().__init__()
        self.inputs, self.feature_dim = AUDIO, 4
        self.layers = nn.Sequential(nn.Conv1d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv1d(8, 4, 1))

    def forward(self, samples):
        return self.layers(samples).mean(2)


class Stub(Backbone):
    """Layers that an adapter does not imitate, and a name that ends another."""

    def __init__(self):
        super().__init__()
        self.inputs, self.feature_dim = IMAGES, 4
        self.first = nn.Conv2d(1, 4, 3, dilation=2)
        self.round = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 1).requires_grad_(False))
        self.inner.add_module("last", nn.Conv2d(4, 4, 1, groups=2))
        self.last = nn.Conv2d(4, 4, 1)
        self.once, self.twice = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.twice.weight = self.once.weight

    def forward(self, samples):
        shared = self.twice(self.once(self.round(self.first(samples))))
        return self.last(self.inner(shared)).mean((2, 3))


def test_layers_that_cannot_have_one_are_frozen():
    network = Stub().train()
    assert add_adapters(network, 2) == 1
    assert adapted(network) == {"last"}
    assert network.training
    assert not any(p.requires_grad for p in network.inner.parameters())


@pytest.mark.parametrize("name", ["resnet", "vit", "transformer"])
def test_in_autocast_they_learn_too(name):
    network = moved(NETWORKS[name]()).train()
    with torch.autocast("cpu", torch.bfloat16):
        features = network(samples(network))
    features.float().square().sum().backward()
    gradients = [p.grad for p in network.parameters() if p.requires_grad]
    assert all(g.dtype == torch.float32 and g.isfinite().all() and g.any() for g in gradients)


def test_a_saved_network_has_no_adapters_and_needs_no_library(tmp_path):
    network = moved(NETWORKS["vit"]())
    state = copy.deepcopy(network.state_dict())
    place = "ssl_dml.backbones.TimmBackbone"
    save(Chunked(network, 3), tmp_path / "backbone", place, VIT, trained={})
    assert all(torch.equal(value, state[n]) for n, value in network.state_dict().items())
    given = samples(network)
    assert_close(load(tmp_path / "backbone")(given), network.eval()(given), rtol=1e-4, atol=1e-5)
    code = (
        "import sys; sys.modules['peft'] = None; from ssl_dml.backbones import load; "
        f"load({str(tmp_path / 'backbone')!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_network_without_adapters_is_saved_as_it_is():
    network = NETWORKS["resnet"]()
    assert without_adapters(network) is network


def test_a_checkpoint_with_adapters_is_refused_by_name():
    network = NETWORKS["vit"]()
    state = {f"backbone.{n}": v for n, v in moved(NETWORKS["vit"]()).state_dict().items()}
    words = re.escape("adapters that are not merged (backbone.network.blocks.0.attn.qkv.lora_A")
    with pytest.raises(ValueError, match=words):
        network.load_weights(state)
