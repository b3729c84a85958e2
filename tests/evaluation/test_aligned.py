"""How well one image explains another after a move that is known."""

import math

import pytest
import torch
import torch.nn.functional as F

from ssl_dml.evaluation.aligned import agreement, edges, place, warped

PLAIN = torch.eye(2, 3)[None]


def smooth_images(count):
    return F.interpolate(torch.rand(count, 3, 8, 8), size=(32, 32), mode="bicubic").clamp(0, 1)


def turned(degrees, zoom=1.0):
    """Where pixels come from, for an image that is turned and enlarged."""
    a = math.radians(degrees)
    rows = [[math.cos(a), -math.sin(a), 0.0], [math.sin(a), math.cos(a), 0.0]]
    return torch.tensor(rows)[None] / torch.tensor([zoom, zoom, 1.0])


@pytest.mark.parametrize("degrees", [-5.0, 3.0])
def test_a_turn_that_was_not_told_is_found(degrees):
    images = smooth_images(4)
    moved = warped(images, turned(degrees))
    assert agreement(images, moved, PLAIN.expand(4, 2, 3)).min() > 0.95
    assert agreement(images, moved, PLAIN.expand(4, 2, 3), steps=0).max() < 0.9


def test_brightness_and_contrast_do_not_count():
    images = 0.6 * smooth_images(3)
    way = PLAIN.expand(3, 2, 3)
    assert agreement(images, 0.1 + 1.3 * images, way).min() > 0.97


def test_another_image_and_one_that_is_mostly_outside_do_not_agree():
    one, two = smooth_images(2).split(1)
    assert agreement(one, two, PLAIN) < 0.8
    far = torch.tensor([[[1.0, 0.0, 1.6], [0.0, 1.0, 0.0]]])
    assert agreement(one, one, far, steps=0) == -1.0


def test_slopes_are_those_of_a_plane():
    x, y, _ = place(16)
    across, down = edges((2 * x - 3 * y)[None, None])
    inner = slice(1, -1)
    torch.testing.assert_close(across[0, 0, :, inner], torch.full((16, 14), 2.0))
    torch.testing.assert_close(down[0, 0, inner], torch.full((14, 16), -3.0))
