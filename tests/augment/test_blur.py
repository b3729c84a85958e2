import kornia.augmentation as K
import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from torch.testing import assert_close

from ssl_dml.augment.blur import GaussianBlur


def by_taps(image, sigma, kernel):
    """Correlation with the normalized Gaussian along both axes; scipy mirrors the borders."""
    places = np.arange(kernel) - kernel // 2
    weights = np.exp(-0.5 * (places / sigma) ** 2)
    weights /= weights.sum()
    for axis in (-1, -2):
        image = correlate1d(image, weights, axis=axis, mode="mirror")
    return image


@pytest.mark.parametrize("kernel", [1, 3, 7, 23])
@pytest.mark.parametrize("size", [(32, 32), (24, 224), (200, 25), (96, 161)])
def test_equals_the_stock_operator(size, kernel):
    images = torch.rand(6, 3, *size)
    theirs = K.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5)
    expected = theirs(images)
    found = GaussianBlur(kernel)(images, params=theirs._params)
    assert_close(found, expected, rtol=0, atol=1e-5)


def test_draws_as_the_stock_operator_does():
    images = torch.rand(16, 3, 8, 8)
    torch.manual_seed(3)
    expected = K.RandomGaussianBlur((3, 3), (0.1, 2.0), p=0.5)(images)
    torch.manual_seed(3)
    assert_close(GaussianBlur(3)(images), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sigma", [1e-6, 0.3, 2.0, 1e6])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 2), (4, 30)])
def test_equals_correlation_also_where_the_image_is_short(size, sigma):
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    found = GaussianBlur(9, sigma=(sigma, sigma), probability=1.0)(images)
    expected = torch.from_numpy(by_taps(images.numpy(), sigma, 9))
    assert_close(found, expected, rtol=0, atol=1e-6)


def test_sigma_0_is_the_image():
    images = torch.rand(2, 3, 6, 100)
    blur = GaussianBlur(5, sigma=(0.0, 0.0), probability=1.0)
    assert torch.equal(blur(images), images)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(kind):
    images = torch.rand(4, 3, 16, 90)
    blur = GaussianBlur(5, probability=1.0)
    exact = blur(images)
    half = blur(images.to(kind), params=blur._params).float()
    assert_close(half, exact, rtol=0, atol=0.02)


def test_each_image_has_its_own_sigma():
    dot = torch.zeros(64, 1, 9, 9)
    dot[:, :, 4, 4] = 1
    peaks = GaussianBlur(9, probability=1.0)(dot)[:, 0, 4, 4]
    assert len(peaks.unique()) > 50  # the smallest sigmas all leave the dot as it is
    assert peaks.max() > 0.9
    assert peaks.min() < 0.08


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": 4}, "blur: kernel must be odd and at least 1, got 4"),
        ({"kernel": 3, "sigma": (2.0, 1.0)}, r"blur: sigma must be a rising range from 0, got"),
        ({"kernel": 3, "probability": 1.5}, "blur must be from 0 to 1, got 1.5"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GaussianBlur(options.pop("kernel"), **options)
