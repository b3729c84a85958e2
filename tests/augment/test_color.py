import colorsys

import pytest
import torch
from torch.testing import assert_close
from torchvision.transforms.v2 import functional as stock

from ssl_dml.augment.color import ChannelJitter, ColorJitter, GrayJitter

ONE, ZERO = torch.ones(1), torch.zeros(1)


def recolor(image, brightness=1.0, contrast=1.0, saturation=1.0, turn=0.0):
    factors = (torch.full((len(image),), v) for v in (brightness, contrast, saturation, turn))
    return ColorJitter().recolor(image, *factors)


@pytest.fixture
def images():
    return torch.rand(4, 3, 8, 8) * 0.5 + 0.2  # far from 0 and 1, where clamping would differ


def test_neutral_factors_change_nothing(images):
    assert_close(recolor(images), images)


@pytest.mark.parametrize("factor", [0.7, 1.2])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_each_step_equals_the_stock_one(images, name, factor):
    theirs = getattr(stock, f"adjust_{name}")(images, factor)
    assert_close(recolor(images, **{name: factor}), theirs, rtol=0, atol=2e-3)


def test_the_composition_equals_the_stock_steps_in_our_order(images):
    theirs = stock.adjust_brightness(images, 1.1)
    theirs = stock.adjust_contrast(theirs, 0.8)
    theirs = stock.adjust_saturation(theirs, 0.6)
    ours = recolor(images, brightness=1.1, contrast=0.8, saturation=0.6)
    assert_close(ours, theirs, rtol=0, atol=2e-3)


def test_zero_saturation_is_gray(images):
    gray = recolor(images, saturation=0.0)
    assert_close(gray[:, 0], gray[:, 2])
    assert_close(gray[:, :1], stock.rgb_to_grayscale(images), rtol=0, atol=2e-3)


def test_hue_turns_the_color_wheel_and_keeps_luminance(images):
    luminance = torch.tensor([0.299, 0.587, 0.114])
    turned = recolor(images, turn=0.1)
    before, after = (torch.einsum("c,bchw->bhw", luminance, x) for x in (images, turned))
    assert_close(before, after, rtol=0, atol=2e-3)
    red = torch.tensor([0.6, 0.4, 0.4]).view(1, 3, 1, 1)
    third = recolor(red, turn=1 / 3).flatten().tolist()
    # The wheel of YIQ is not that of HSV: a third of it lands within a twelfth.
    distance = abs(colorsys.rgb_to_hsv(*third)[0] - 1 / 3) % 1
    assert min(distance, 1 - distance) < 1 / 12 or abs(min(distance, 1 - distance) - 1 / 3) < 1 / 12
    assert_close(recolor(images, turn=1.0), images, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "jitter",
    [ColorJitter(probability=1.0), GrayJitter(probability=1.0, gamma=0.5), ChannelJitter()],
)
def test_every_sample_has_its_own_draw(jitter):
    same = (torch.rand(1, 3, 8, 8) * 0.5 + 0.2).repeat(64, 1, 1, 1)
    out = jitter(same).flatten(1)
    assert len(out.unique(dim=0)) == 64
    assert out.min() >= 0
    assert out.max() <= 1


def test_gray_jitter_equals_the_stock_steps():
    torch.manual_seed(1)
    jitter = GrayJitter(brightness=0.3, contrast=0.0, probability=1.0)
    images = torch.rand(5, 1, 6, 6) * 0.5
    gains = jitter(images) / images
    assert (gains.flatten(1).std(dim=1) < 1e-3).all()
    assert ((gains > 0.7) & (gains < 1.3)).all()
    contrast = GrayJitter(brightness=0.0, contrast=0.4, probability=1.0)(images)
    assert_close(contrast.mean((1, 2, 3)), images.mean((1, 2, 3)), rtol=0, atol=1e-2)


def test_a_share_of_the_images_is_left_alone():
    images = torch.rand(4000, 1, 2, 2) * 0.5 + 0.2
    out = GrayJitter(probability=0.8)(images)
    untouched = (out == images).flatten(1).all(dim=1).float().mean()
    assert 0.17 < untouched < 0.23


def test_a_dropped_channel_is_its_mean():
    images = torch.rand(200, 4, 6, 6)
    out = ChannelJitter(gain=0.0, drop=0.25)(images)
    flat = out.flatten(2).std(dim=2) < 1e-6
    assert 0.2 < flat.float().mean() < 0.3
    assert_close(out.mean((2, 3)), images.mean((2, 3)))
