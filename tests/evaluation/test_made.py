"""Copies that are made to learn from, and images that are edited."""

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_dml.evaluation.made import CHANGES, changed, edited


@pytest.mark.parametrize("channels", [1, 3])
def test_each_change_is_made_in_turn(channels):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(12, channels, 24, 24, generator=generator)
    copies = changed(images)
    assert copies.shape == images.shape
    assert 0 <= copies.min() <= copies.max() <= 1
    assert (copies - images).flatten(1).abs().amax(dim=1).min() > 0.01
    assert torch.equal(changed(images), copies)
    assert not torch.equal(changed(images, seed=1), copies)


def test_changes_are_those_of_the_image_library():
    image = Image.fromarray(np.arange(0, 200, 2, dtype=np.uint8).reshape(10, 10))
    brightened, mirrored = (
        np.asarray(CHANGES[i](image, np.random.default_rng(0)), float) for i in (4, 5)
    )
    plain = np.asarray(image, float)
    gain = brightened[5, 5] / plain[5, 5]
    assert 1.1 <= gain <= 1.42
    np.testing.assert_allclose(brightened, np.minimum(255, gain * plain), atol=2)
    np.testing.assert_allclose(mirrored, plain[:, ::-1], atol=30)  # perhaps encoded as well


def test_edited_images_differ_in_one_rectangle_and_say_if_it_is_seen():
    white, black = torch.ones(20, 1, 16, 16), torch.zeros(20, 1, 16, 16)
    found, seen = edited(white, black)
    assert seen.all()
    assert torch.equal(white, torch.ones_like(white))
    for one in (found < 0.5)[:, 0]:
        rows, columns = one.any(dim=1), one.any(dim=0)
        assert torch.equal(one, rows[:, None] & columns)
        assert 4 / 256 <= one.double().mean() <= 0.35
    assert not edited(white, white - 0.1)[1].any()
