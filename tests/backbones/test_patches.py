import pytest
import torch
from torch.testing import assert_close

from ssl_dml.backbones import PatchBackbone, load, save
from ssl_dml.types import ImageSpec, SequenceSpec

SPEC = ImageSpec(channels=2, size=20, mean=(0.5, 0.5), std=(0.2, 0.2))
ARGUMENTS = {
    "patch": 8,
    "stride": 4,
    "name": "resnet18",
    "width": 0.125,
    "options": {"layers": [1, 1, 1, 1], "zero_init_last": False},
}


def build(**arguments):
    return PatchBackbone(SPEC, **{**ARGUMENTS, **arguments})


def test_each_cell_is_the_feature_of_its_patch():
    backbone, samples = build().double(), torch.randn(3, 2, 20, 23, dtype=torch.float64)
    grid = backbone.grid(samples)
    assert grid.shape == (3, 4, 4, backbone.feature_dim) == (3, 4, 4, 64)
    patch = samples[:, :, 4:12, 12:20]
    assert_close(grid[:, 1, 3], backbone.encoder(patch))
    assert_close(backbone(samples), grid.mean(dim=(1, 2)))


def test_no_patch_depends_on_another_nor_on_the_batch():
    backbone, samples = build().double().train(), torch.randn(3, 2, 20, 20, dtype=torch.float64)
    samples.requires_grad_()
    backbone.grid(samples)[1, 2, 0].pow(3).sum().backward()
    reached = samples.grad.abs().sum(dim=1) > 0
    assert not reached[[0, 2]].any()
    assert reached[1, 8:16, :8].float().mean() > 0.9
    assert reached[1].sum() == reached[1, 8:16, :8].sum()


@pytest.mark.parametrize(
    "options",
    [
        {"layers": [1, 1, 1, 1], "norm_layer": "groupnorm1"},
        {"layers": [1, 1, 1, 1], "norm_layer": "layernorm2d"},
    ],
)
def test_norms_of_a_patch_may_be_chosen(options):
    assert build(options=options)(torch.randn(2, 2, 20, 20)).isfinite().all()


def test_vision_transformers():
    backbone = build(name="vit_tiny_patch16_224", width=1.0, options={"patch_size": 4, "depth": 1})
    assert backbone(torch.randn(2, 2, 20, 20)).shape == (2, backbone.feature_dim)


def test_round_trip(tmp_path):
    backbone, samples = build().eval(), torch.randn(2, 2, 28, 28)
    path = "ssl_dml.backbones.PatchBackbone"
    save(backbone, tmp_path / "backbone", path, ARGUMENTS, trained={})
    assert torch.equal(load(tmp_path / "backbone")(samples), backbone(samples))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"options": {"norm_layer": "batchnorm2d"}}, "has batch norm, .*norm_layer: layernorm2d"),
        ({"name": "mobilenetv3_small_050", "width": 1.0, "options": {}}, "has batch norm"),
        ({"patch": 21}, "patch must be from 1 to the 20 pixels .* got 21"),
        ({"stride": 0}, "stride must be from 1 to patch 8, got 0"),
        ({"stride": 9}, "stride must be from 1 to patch 8, got 9"),
        ({"stem": "standard"}, "shrinks a patch of 8 to one pixel"),
    ],
)
def test_refuses_what_cannot_be_built(arguments, words):
    with pytest.raises(ValueError, match=words):
        build(**arguments)


def test_views_smaller_than_a_patch_are_refused():
    with pytest.raises(ValueError, match=r"patch 8 is larger than views of 7x9; .*resolution"):
        build()(torch.zeros(1, 2, 7, 9))


def test_sequences_are_refused():
    spec = SequenceSpec(channels=1, length=200, mean=(0.0,), std=(1.0,))
    with pytest.raises(ValueError, match=r"is for images; .*SequenceBackbone"):
        PatchBackbone(spec, **ARGUMENTS)


def test_options_that_load_are_refused():
    with pytest.raises(ValueError, match=r"backbone\.options\.checkpoint_path is 'weights\.pth'"):
        build(options={"checkpoint_path": "weights.pth"})
