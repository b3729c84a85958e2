"""How well one image explains another after a move that is not known."""

import math

import pytest
import torch
import torch.nn.functional as F

from ssl_dml.evaluation.aligned import aligned, edges, forms, place, sharply, warped
from ssl_dml.evaluation.unexplained import unexplained

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


@pytest.mark.parametrize(("degrees", "zoom"), [(-5.0, 1.0), (3.0, 1.0), (0.0, 1.15)])
def test_a_move_that_was_not_told_is_found(degrees, zoom):
    images, move = smooth_images(4), turned(degrees, zoom)
    moved, start = warped(images, move), PLAIN.expand(4, 2, 3)
    found = aligned(images, moved, start, steps=8)
    torch.testing.assert_close(found, move.expand(4, 2, 3), atol=0.01, rtol=0)
    best = unexplained(images, moved, found)
    assert best.max() < -9.0  # of -11.5 at least
    assert (best < unexplained(images, moved, start) - 1.0).all()


@pytest.mark.parametrize("side", [1, -1])
def test_forms_allow_a_crop_or_a_turn_and_nothing_else(side):
    flip = torch.tensor([[side], [1.0]])
    box = torch.tensor([[[0.8, 0.0, 0.1], [0.0, 0.9, -0.1]]]) * flip
    turn = turned(5.0, zoom=1.1) * flip
    for way, fits in ((box, (True, False)), (turn, (False, True))):
        for form, fitting in zip(forms(way), fits, strict=True):
            parts = torch.linalg.lstsq(form[0].T, way.view(6, 1)).solution
            assert torch.allclose(form[0].T @ parts, way.view(6, 1), atol=1e-6) == fitting


def test_a_move_stays_of_its_form():
    images, move = smooth_images(3), turned(4.0)
    target, start = warped(images, move), PLAIN.expand(3, 2, 3)
    box, turn = (aligned(images, target, start, form=form, steps=8) for form in forms(start))
    torch.testing.assert_close(turn, move.expand(3, 2, 3), atol=0.01, rtol=0)
    assert (box[:, 0, 1] == 0).all() and (box[:, 1, 0] == 0).all()


def test_sharp_steps_keep_pixels_and_change_between_them():
    images, half = smooth_images(2), PLAIN.repeat(2, 1, 1)
    torch.testing.assert_close(sharply(images, half), images, atol=1e-5, rtol=0)
    half[:, 0, 2] = 1 / 32  # half a pixel to the right
    middle = (images[:, :, :, :-1] + images[:, :, :, 1:]) / 2
    torch.testing.assert_close(sharply(images, half)[:, :, :, :-1], middle, atol=1e-4, rtol=0)
    half[:, 0, 2] = 1 / 64  # a quarter: 3/16 - 2/64 of the way
    quarter = images[:, :, :, :-1].lerp(images[:, :, :, 1:], 3 / 16 - 2 / 64)
    torch.testing.assert_close(sharply(images, half)[:, :, :, :-1], quarter, atol=1e-4, rtol=0)


def test_slopes_are_those_of_a_plane():
    x, y, _ = place(16)
    across, down = edges((2 * x - 3 * y)[None, None])
    inner = slice(1, -1)
    torch.testing.assert_close(across[0, 0, :, inner], torch.full((16, 14), 2.0))
    torch.testing.assert_close(down[0, 0, inner], torch.full((14, 16), -3.0))
