"""Copies among images: planted ones are found, and look-alikes are not."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from ssl_dml.evaluation.duplicates import CONFIRMED, near_duplicates

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


@pytest.mark.slow
def test_changed_copies_are_found_and_neither_details_nor_other_colors_are():
    rng = np.random.default_rng(0)
    images = [drawing(rng) for _ in range(150)]
    copies = [
        change(images[10 * i + j]) for i, change in enumerate(CHANGES.values()) for j in (0, 5)
    ]
    planted = [(10 * i + j, 150 + 2 * i + j // 5) for i in range(6) for j in (0, 5)]
    detail = images[101].copy()
    ImageDraw.Draw(detail).ellipse((36, 36, 58, 58), fill="white")
    recolored = Image.merge("RGB", images[102].split()[::-1])
    found = near_duplicates(thumbnails([*images, *copies, detail, recolored]))
    pairs = [tuple(pair) for pair in found.pairs.tolist()]
    assert set(pairs) <= set(planted)
    assert len(pairs) >= 11  # of 12
    mirrored = [pair for pair, one in zip(pairs, found.mirrored.tolist(), strict=True) if one]
    assert mirrored == planted[-2:]
    assert (found.scores >= CONFIRMED).all()


@pytest.mark.parametrize("count", [2, 40])
def test_no_pairs_among_different_images(count):
    images = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert near_duplicates(images).pairs.shape == (0, 2)
