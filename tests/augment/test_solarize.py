import kornia.augmentation as K
import pytest
import torch
from torch.testing import assert_close

from ssl_dml.augment.solarize import Solarize


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (32, 32)])
def test_equals_the_stock_operator_and_draws_as_it_does(size):
    images = torch.rand(32, 3, *size)
    theirs = K.RandomSolarize((0.3, 0.8), (-0.2, 0.3), p=0.5)
    ours = Solarize(thresholds=(0.3, 0.8), additions=(-0.2, 0.3), probability=0.5)
    torch.manual_seed(2)
    expected = theirs(images)
    torch.manual_seed(2)
    assert_close(ours(images), expected, rtol=0, atol=1e-6)
    assert_close(ours(images, params=theirs._params), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.0, [1.0, 0.5, 0.0]), (1.0, [0.0, 0.5, 0.0])]
)
def test_the_threshold_itself_is_inverted(threshold, expected):
    images = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3)
    made = Solarize(thresholds=(threshold, threshold), probability=1.0)
    assert made(images).flatten().tolist() == expected


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match="thresholds must be from"):
        Solarize(thresholds=(0.5, 0.4))
    with pytest.raises(ValueError, match="additions must be from"):
        Solarize(additions=(-0.6, 0.0))
    with pytest.raises(ValueError, match="solarize must be from 0 to 1, got"):
        Solarize(probability=-1.0)
