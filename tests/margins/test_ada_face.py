"""AdaFace and its statistics beside values computed elsewhere."""

import pytest
import torch
from margin_losses import NORMS, value
from torch.testing import assert_close

from ssl_dml.margins import AdaFace, whole_batch


@pytest.mark.parametrize(
    ("momentum", "expected", "mean", "deviation"),
    [
        (1.0, 2.0650542048577627, 19.0, 8.148619514985345),
        (0.01, 1.6058905198248354, 19.99, 99.08148619514985),
    ],
)
def test_value_and_statistics_computed_elsewhere(momentum, expected, mean, deviation):
    margin = AdaFace(momentum=momentum).double()
    assert_close(value(margin, NORMS), expected)
    assert_close(margin.mean.item(), mean)
    assert_close(margin.deviation.item(), deviation)
    value(margin.eval(), NORMS)
    assert_close(margin.mean.item(), mean)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: AdaFace(concentration=0.0), "concentration must be positive"),
        (lambda: AdaFace(momentum=2.0), "momentum must be from 0 to 1"),
        (lambda: AdaFace(margin=-1.0), "margin must be at least 0"),
    ],
)
def test_errors(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_errors_of_a_batch():
    cosines = torch.zeros(1, 2)
    targets = whole_batch(cosines, torch.tensor([0]))
    with pytest.raises(ValueError, match="AdaFace needs a batch of 2 or more"):
        AdaFace()(cosines, targets)
