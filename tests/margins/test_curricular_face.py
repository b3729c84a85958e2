"""CurricularFace and its running mean beside values computed elsewhere."""

import pytest
from margin_losses import value
from torch.testing import assert_close

from ssl_dml.margins import CurricularFace


@pytest.mark.parametrize(
    ("before", "expected", "after"),
    [
        (0.0, 0.00019494069448988682, 0.008613823437994607),
        (0.5, 1.122403348724945, 0.5036138234379947),
    ],
)
def test_value_and_running_mean_computed_elsewhere(before, expected, after):
    margin = CurricularFace().double()
    margin.t.fill_(before)
    assert_close(value(margin), expected)
    assert_close(margin.t.item(), after)
    value(margin.eval())
    assert_close(margin.t.item(), after)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: CurricularFace(momentum=-1.0), "momentum must be from 0 to 1"),
        (lambda: CurricularFace(margin=-1.0), "margin must be at least 0"),
    ],
)
def test_errors(build, words):
    with pytest.raises(ValueError, match=words):
        build()
