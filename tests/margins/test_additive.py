"""Softmax on cosines and CosFace beside values computed elsewhere."""

import pytest
from margin_losses import value
from torch.testing import assert_close

from ssl_dml.margins import CosFace, NormalizedSoftmax


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (NormalizedSoftmax(scale=16.0), 0.0023220576308154626),
        (CosFace(), 0.7294986864635375),
        (CosFace(scale=30.0), 0.43392900110572574),
        (CosFace(scale=16.0, margin=0.2), 0.05241060469800327),
    ],
)
def test_values_computed_elsewhere(margin, expected):
    assert_close(value(margin), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: CosFace(scale=0.0), "scale must be positive"),
        (lambda: CosFace(margin=-0.1), "margin must be at least 0"),
        (lambda: NormalizedSoftmax(scale=-1.0), "scale must be positive, got -1.0"),
    ],
)
def test_errors(build, words):
    with pytest.raises(ValueError, match=words):
        build()
