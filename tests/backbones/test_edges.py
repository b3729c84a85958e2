import pytest
import torch
from torch.testing import assert_close

from ssl_dml.backbones import EdgeBackbone, load, save
from ssl_dml.backbones.edges import edges
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec

SMALL = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
ARGUMENTS = {**SMALL, "cells": 2}


def ramp(angle, side=16):
    """An image that rises in one direction."""
    turn = torch.tensor(angle).deg2rad()
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return (column * turn.cos() + row * turn.sin()).view(1, 1, side, side) / side


@pytest.mark.parametrize(("angle", "strongest"), [(0, 0), (45, 1), (90, 2), (135, 3), (225, 1)])
def test_directions_have_bins_of_their_own(angle, strongest):
    maps = edges(ramp(float(angle)), 4)[0, :, 4:-4, 4:-4]
    assert (maps.argmax(dim=0) == strongest).all()
    assert_close(maps[(strongest + 2) % 4], torch.zeros(8, 8), atol=1e-6, rtol=0)  # across it


def test_strength_is_relative_to_what_is_around():
    image = torch.rand(2, 3, 20, 20)
    assert_close(edges(image, 8), edges(image * 0.5, 8), rtol=0.1, atol=0.05)
    assert_close(edges(image, 8), edges(1 - image, 8), rtol=1e-4, atol=1e-5)  # of no sign
    assert edges(torch.ones(1, 1, 8, 8), 8).abs().max() == 0  # a flat ground has none


def test_an_edge_is_that_of_the_channel_where_it_is_strongest():
    strong, weak = ramp(90.0), ramp(0.0) / 8
    both, alone = edges(torch.cat([weak, strong], dim=1), 4), edges(strong, 4)
    inner = (..., slice(6, -6), slice(6, -6))  # at the border an image has no gradient across
    assert_close(both[inner], alone[inner], atol=1e-6, rtol=0.05)
    assert both[inner][:, 2].min() > 0.3


def test_features_keep_their_place(gray):
    spec = ImageSpec(channels=1, size=32, mean=gray.mean, std=gray.std)
    backbone = EdgeBackbone(spec, **ARGUMENTS).eval()
    assert backbone.feature_dim == 4 * 64 + 8 * 16
    image = torch.zeros(1, 1, 32, 32)
    image[..., 2:8, 2:8] = 1.0
    with torch.no_grad():
        upper, lower = (backbone(x)[0, -128:].view(8, 4, 4) for x in (image, image.flip(2, 3)))
    assert upper[:, 0, 0].norm() > 10 * upper[:, 3, 3].norm()
    assert lower[:, 3, 3].norm() > 10 * lower[:, 0, 0].norm()


def test_both_halves_count_alike(color):
    backbone = EdgeBackbone(color, **ARGUMENTS)
    features = backbone(torch.rand(64, 3, 16, 16))
    for half in (features[:, :256], features[:, 256:]):
        assert_close(half.mean(dim=0), torch.zeros(half.shape[1]), atol=1e-4, rtol=0)
        assert half.detach().square().sum(dim=1).mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("size", "stride"), [(8, 1), (32, 1), (47, 1), (64, 2), (96, 3)])
def test_large_images_have_maps_of_about_32_positions(size, stride):
    spec = ImageSpec.imagenet(size)
    backbone = EdgeBackbone(spec, **ARGUMENTS)
    assert backbone.stride == stride
    assert backbone(torch.rand(2, 3, size, size)).shape == (2, backbone.feature_dim)


def test_it_is_saved_and_loaded(tmp_path):
    backbone = EdgeBackbone(ImageSpec.imagenet(16), **ARGUMENTS).eval()
    name = "ssl_dml.backbones.EdgeBackbone"
    save(backbone, tmp_path / "x", name, ARGUMENTS, trained={})
    image = torch.rand(2, 3, 16, 16)
    assert torch.equal(load(tmp_path / "x").eval()(image), backbone(image))
    assert sum(map(len, backbone.layers())) == len(list(backbone.parameters()))


def test_mistakes_are_told():
    sequences = SequenceSpec(channels=1, length=40, mean=(0.0,), std=(1.0,))
    with pytest.raises(ValueError, match="EdgeBackbone is for images"):
        EdgeBackbone(sequences, **ARGUMENTS)
    for name in ("bins", "cells"):
        with pytest.raises(ConfigError, match=rf"backbone.{name} must be at least 1, got 0"):
            EdgeBackbone(ImageSpec.imagenet(16), **{**ARGUMENTS, name: 0})
