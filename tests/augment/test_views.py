import pytest
import torch

from ssl_dml.augment import Crops, ImageViews
from ssl_dml.types import ConfigError, ImageSpec


def gray(size):
    return ImageSpec(channels=1, size=size, mean=(0.5,), std=(0.25,))


@pytest.mark.parametrize(
    ("crops", "size", "large"),
    [
        ({}, 96, (96, 96)),
        ({"resolution": 0.5}, 96, (48, 48)),
        ({"resolution": None}, 28, (20, 20)),
        ({"resolution": None}, 256, (224, 224)),
        ({"resolution": None}, (256, 128), (179, 90)),
        ({"resolution": 0.5}, (32, 16), (16, 8)),
        ({"size": 24, "resolution": 0.5}, 96, (24, 24)),
        ({"size": (24, 16)}, 96, (24, 16)),
    ],
)
def test_views_have_their_size_in_pixels_or_relative_to_the_image(crops, size, large):
    images = gray(size)
    assert Crops(**crops).large(images) == large
    stored = torch.zeros(2, 1, *images.sides, dtype=torch.uint8)
    views = ImageViews(images, [], crops=Crops(views=3, **crops))(stored)
    assert [tuple(view.shape) for view in views] == [(2, 1, *large)] * 3


def test_small_views_have_their_own_size():
    crops = Crops(views=1, local_views=2, local_size=(9, 8))
    views = ImageViews(gray(16), [], crops=crops)(torch.zeros(2, 1, 16, 16, dtype=torch.uint8))
    assert [tuple(view.shape[2:]) for view in views] == [(16, 16), (9, 8), (9, 8)]


def test_views_of_long_images_show_all_of_them_and_nothing_stretched():
    """Of an image 8 times as wide as high, whose brightness rises from left to right."""
    stored = torch.arange(64, dtype=torch.uint8).mul(4).expand(500, 1, 64, 64)
    crops = Crops(views=1, scale=(0.1, 1.0), flip=0.0)
    (views,) = ImageViews(gray(64), [], crops=crops)(stored, torch.full((500,), 8.0))
    pixels = views[:, 0, 32] * 0.25 + 0.5
    assert pixels.min() < 0.02
    assert pixels.max() > 0.96
    seen = (pixels[:, -1] - pixels[:, 0]) * 8  # in heights of the image
    assert seen.max() < 4 / 3 + 0.05


@pytest.mark.parametrize("name", ["size", "local_size"])
@pytest.mark.parametrize("size", [0, -1, (8, 0), 5000, (8, 5000)])
def test_sizes_out_of_range_are_refused(name, size):
    with pytest.raises(ConfigError, match=rf"crops\.{name} must be from 1 to 4096, got "):
        Crops(**{name: size})
