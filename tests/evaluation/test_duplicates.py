"""Copies among images: planted ones are found, and look-alikes are not."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from ssl_dml.evaluation.aligned import agreement, warped
from ssl_dml.evaluation.duplicates import near_duplicates, ways

SIDE = 64


def drawing(rng):
    """Some shapes of random colors and places."""
    image = Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(100, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(9):
        x, y, width, height = (int(v) for v in rng.integers(0, 40, 4))
        color = tuple(rng.integers(0, 200, 3).tolist())
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + 8 + width // 2, y + 8 + height // 2), fill=color)
    return image


def encoded(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return Image.open(file).convert("RGB")


CHANGES = {
    "encoded": encoded,
    "resized": lambda image: image.resize((44, 44)),
    "cropped": lambda image: image.crop((4, 9, 55, 60)),
    "turned": lambda image: image.rotate(5, Image.Resampling.BICUBIC),
    "brightened": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "mirrored": ImageOps.mirror,
}


def thumbnails(images):
    small = [np.asarray(image.resize((32, 32), Image.Resampling.BOX)) for image in images]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255


def test_most_changed_copies_are_found_and_nothing_else():
    rng = np.random.default_rng(0)
    images = [drawing(rng) for _ in range(150)]
    copies = [
        change(images[10 * i + j]) for i, change in enumerate(CHANGES.values()) for j in (0, 5)
    ]
    planted = [(10 * i + j, 150 + 2 * i + j // 5) for i in range(6) for j in (0, 5)]
    found = near_duplicates(thumbnails([*images, *copies]))
    pairs = [tuple(pair) for pair in found.pairs.tolist()]
    assert set(pairs) <= set(planted)
    assert len(pairs) >= 9  # of 12
    mirrored = [pair for pair, one in zip(pairs, found.mirrored.tolist(), strict=True) if one]
    assert mirrored == planted[-2:]
    assert found.scores.min() >= 0.92


def test_a_detail_keeps_two_images_apart():
    image = drawing(np.random.default_rng(1))
    other = image.copy()
    ImageDraw.Draw(other).ellipse((36, 36, 58, 58), fill="white")
    recolored = Image.merge("RGB", image.split()[::-1])
    one, two, three = thumbnails([image, other, recolored])
    plain = torch.eye(2, 3)[None]
    assert agreement(one[None], one[None], plain).item() == pytest.approx(1.0, abs=1e-3)
    assert agreement(one[None], two[None], plain).item() < 0.9
    assert agreement(one[None], three[None], plain).item() < 0.9


def test_ways_move_images_as_they_say():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    mirrored = ways()[len(ways()) // 2]
    assert torch.equal(warped(image, mirrored), image.flip(3))
    assert torch.equal(warped(image, ways()[0]), image)


def test_no_pairs_among_different_images():
    images = torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert near_duplicates(images).pairs.shape == (0, 2)
