"""How well one image explains another after a move that is not known."""

import math

import pytest
import torch
import torch.nn.functional as F

from ssl_dml.evaluation.aligned import RESIDUALS, aligned, edges, measures, place, smooth, warped

PLAIN = torch.eye(2, 3)[None]


def smooth_images(count):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    return F.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1)


def turned(degrees, zoom=1.0):
    """Where pixels come from, for an image that is turned and enlarged."""
    a = math.radians(degrees)
    rows = [[math.cos(a), -math.sin(a), 0.0], [math.sin(a), math.cos(a), 0.0]]
    return torch.tensor(rows)[None] / torch.tensor([zoom, zoom, 1.0])


def unexplained(source, target, theta):
    """The part of the variance that is left, in logarithms: the second measure."""
    return measures(source, target, theta)[:, 1]


@pytest.mark.parametrize(("degrees", "zoom"), [(-5.0, 1.0), (3.0, 1.0), (0.0, 1.15)])
def test_a_move_that_was_not_told_is_found(degrees, zoom):
    images, move = smooth_images(4), turned(degrees, zoom)
    moved, start = warped(images, move), PLAIN.expand(4, 2, 3)
    found = aligned(images, moved, start, steps=8)
    torch.testing.assert_close(found, move.expand(4, 2, 3), atol=0.01, rtol=0)
    best = unexplained(images, moved, found)
    assert best.max() < -4.0
    assert (best < unexplained(images, moved, start) - 1.0).all()


def test_brightness_contrast_and_blur_do_not_count_where_they_are_the_whole_change():
    images, way = 0.6 * smooth_images(3), PLAIN.expand(3, 2, 3)
    for target in (0.1 + 1.3 * images, smooth(images)):
        found = measures(images, target, way)
        assert (found[:, 0] - math.log(1e-5)).max() < 1.0  # nothing that is seen
    assert found.isfinite().all()


def test_of_a_look_alike_every_measure_of_the_rest_is_higher():
    images, way = smooth_images(4), PLAIN.expand(4, 2, 3)
    copy, other = 0.9 * images, images.clone()
    other[:, :, 8:16, 8:16] = 1 - other[:, :, 8:16, 8:16]
    less, more = measures(images, copy, way), measures(images, other, way)
    assert (less[:, :RESIDUALS] <= more[:, :RESIDUALS] + 1e-4).all()
    assert (less[:, 0] < more[:, 0] - 2).all()


def test_a_mirrored_image_has_the_shape_of_a_plain_one():
    images = smooth_images(2)
    way = torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]).expand(2, 2, 3)
    mirrored = measures(images, images.flip(3), way)
    plain = measures(images, images, PLAIN.expand(2, 2, 3))
    torch.testing.assert_close(mirrored, plain, atol=0.21, rtol=0)


def test_slopes_are_those_of_a_plane():
    x, y, _ = place(16)
    across, down = edges((2 * x - 3 * y)[None, None])
    inner = slice(1, -1)
    torch.testing.assert_close(across[0, 0, :, inner], torch.full((16, 14), 2.0))
    torch.testing.assert_close(down[0, 0, inner], torch.full((14, 16), -3.0))
