"""MagFace and its penalty beside values computed elsewhere."""

import pytest
from margin_losses import NORMS, value
from torch.testing import assert_close

from ssl_dml.margins import MagFace


def test_value_and_penalty_computed_elsewhere():
    assert_close(value(MagFace(weight=0.0), NORMS), 1.3468204341731635)
    assert_close(value(MagFace(weight=35.0), NORMS), 1.3468204341731635 + 35 * 0.06157134111679566)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: MagFace(lengths=(9.0, 1.0)), "lengths must rise from above 0"),
        (lambda: MagFace(margins=(0.8, 0.4)), "margins must not fall"),
        (lambda: MagFace(weight=-1.0), "weight must be at least 0"),
    ],
)
def test_errors(build, words):
    with pytest.raises(ValueError, match=words):
        build()
