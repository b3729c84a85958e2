import colorsys
import itertools

import kornia.augmentation as K
import pytest
import torch
from torch.testing import assert_close
from torchvision.transforms.v2 import functional as stock

from ssl_dml.augment.color import ColorJitter

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


def test_unturned_and_unjittered_images_stay_exactly():
    images = torch.rand(5, 3, 7, 9)
    assert torch.equal(ColorJitter(probability=0.0, grayscale=0.0)(images), images)
    exact = ColorJitter(probability=0.0, grayscale=0.0, exact_hue=True)
    assert torch.equal(exact(images), images)


def stock_jitter(**options):
    return K.ColorJitter(0.1, 0.1, 0.1, p=0.7, order=(0, 1, 2, 3), **options)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (9, 4), (32, 32)])
def test_equals_the_stock_operator_with_its_parameters(size, exact):
    """Far from 0 and 1, where stock operators would clamp on the way."""
    images = torch.rand(16, 3, *size) * 0.3 + 0.4
    theirs = stock_jitter(hue=0.3 if exact else 0.0)
    expected = theirs(images)
    ours = ColorJitter(exact_hue=exact)
    assert_close(ours(images, params=theirs._params), expected, rtol=0, atol=1e-5)


def test_exact_hue_and_grayscale_equal_the_stock_operators_in_turn():
    images = torch.rand(64, 3, 8, 8) * 0.3 + 0.4
    ours = ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1, exact_hue=True)
    found = ours(images)
    drawn = ours._params
    gray = K.RandomGrayscale(p=0.5)
    expected = stock_jitter(hue=0.1)(images, params=drawn)
    expected = gray(expected, params={"batch_prob": drawn["gray"].float()})
    assert 0 < drawn["gray"].sum() < 64
    assert_close(found, expected, rtol=0, atol=1e-5)


def test_every_order_of_the_stock_steps_gives_the_same_before_clamping():
    images = torch.rand(8, 3, 6, 6) * 0.2 + 0.4
    theirs = K.ColorJitter(0.1, 0.1, 0.1, p=1.0)
    theirs(images)
    ours = ColorJitter()(images, params=theirs._params)
    for order in itertools.permutations(range(3)):
        params = theirs._params | {"order": torch.tensor([*order, 3])}
        assert_close(ours, theirs(images, params=params), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(kind):
    images = torch.rand(4, 3, 8, 8)
    for jitter in (ColorJitter(), ColorJitter(exact_hue=True)):
        exact = jitter(images)
        half = jitter(images.to(kind), params=jitter._params)
        assert half.dtype == kind
        far = (half.float() - exact).abs()
        assert far.mean() < 0.01  # hue jumps where channels become equal
