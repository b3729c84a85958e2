import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ssl_dml.backbones import Chunked, Embedder, PatchBackbone, TimmBackbone, layers, load, save
from ssl_dml.types import ImageSpec

PATH = "ssl_dml.backbones.TimmBackbone"
RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


def embedder(spec, **options):
    return Embedder(spec, class_path=PATH, init_args=RESNET, **options)


@pytest.mark.parametrize(
    ("neck", "dim", "kinds"),
    [
        ("none", None, []),
        ("linear", 5, [nn.Linear]),
        ("batch_norm", None, [nn.BatchNorm1d]),
        ("linear_batch_norm", 5, [nn.Linear, nn.BatchNorm1d]),
    ],
)
def test_necks(gray, neck, dim, kinds):
    made = embedder(gray, neck=neck, dim=dim)
    assert [type(layer) for layer in made.neck] == kinds
    assert made(torch.randn(3, 1, 8, 8)).shape == (3, made.feature_dim)
    assert made.feature_dim == (dim or made.backbone.feature_dim)


def test_saves_and_loads_with_one_call(gray, tmp_path):
    arguments = {"class_path": PATH, "init_args": RESNET, "neck": "linear", "dim": 4}
    made = Embedder(gray, **arguments).eval()
    save(made, tmp_path / "backbone", "ssl_dml.backbones.Embedder", arguments, trained={})
    samples = torch.randn(2, 1, 8, 8)
    assert_close(load(tmp_path / "backbone")(samples), made(samples))


def test_layers_go_from_first_to_last_and_hold_every_parameter_once(gray):
    backbone = embedder(gray).backbone
    groups = layers(backbone)
    assert len(groups) > 4
    assert groups[0][0] is backbone.network.conv1.weight
    found = [id(p) for group in groups for p in group]
    assert sorted(found) == sorted(id(p) for p in backbone.parameters())
    chunked = layers(Chunked(TimmBackbone(gray, **RESNET), 2))
    assert [len(group) for group in chunked] == [len(group) for group in groups]


def test_layers_of_an_embedder_are_those_of_its_backbone_and_the_neck(gray):
    made = embedder(gray, neck="linear_batch_norm")
    groups = layers(made)
    assert len(groups) == len(layers(made.backbone)) + 1
    assert [tuple(p.shape) for p in groups[-1]][-1] == (made.feature_dim,)
    spec = ImageSpec(channels=1, size=32, mean=(0.5,), std=(0.5,))
    patches = PatchBackbone(spec, patch=16, stride=8, **RESNET)
    assert len(layers(patches)) > 4


def test_what_a_network_holds_itself_is_of_its_first_layer():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    network.token = nn.Parameter(torch.zeros(2))
    assert layers(network)[0][0] is network.token


def test_layers_of_any_network_are_its_children():
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert [len(group) for group in layers(network)] == [2, 2]
    network[0].requires_grad_(False)
    assert [len(group) for group in layers(network)] == [2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"neck": "none", "dim": 3}, "dim must be null or the .* of the backbone with neck none"),
        ({"dim": 0}, "dim must be at least 1, got 0"),
    ],
)
def test_errors(gray, options, words):
    with pytest.raises(ValueError, match=words):
        embedder(gray, **options)


def test_a_class_that_is_not_installed_is_named(gray):
    with pytest.raises(ValueError, match=r"nowhere\.Network is of a module that is not imported"):
        Embedder(gray, class_path="nowhere.Network")
    with pytest.raises(ValueError, match=r"ssl_dml\.backbones\.Network is not installed"):
        Embedder(gray, class_path="ssl_dml.backbones.Network")


@pytest.mark.parametrize("neck", ["batch_norm", "linear_batch_norm"])
def test_a_batch_norm_centers_and_learns_no_shift(gray, neck):
    made = embedder(gray, neck=neck).train()
    assert not made.neck[-1].bias.requires_grad
    rows = made(torch.rand(32, 1, 8, 8))
    assert_close(rows.mean(dim=0), torch.zeros(rows.shape[1]), atol=1e-5, rtol=0)


def test_a_part_called_layers_is_no_method():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.last = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1)

    assert [len(group) for group in layers(Own())] == [2, 2]
