"""AdaCos and its scale beside values computed elsewhere."""

import pytest
import torch
from margin_losses import value
from torch.testing import assert_close

from ssl_dml.margins import AdaCos, whole_batch


def test_fixed_and_dynamic_scales_computed_elsewhere():
    for classes, expected in {3: 0.9802581434685472, 10: 3.1073447968483734}.items():
        margin = AdaCos(scale="fixed")
        cosines = torch.zeros(1, classes)
        margin(cosines, whole_batch(cosines, torch.tensor([0])))
        assert_close(margin.scale.item(), expected, rtol=1e-6, atol=0)
    margin = AdaCos().double()
    assert_close(value(margin), 0.6903171379254078)
    assert_close(margin.scale.item(), 0.9632744738568063)
    value(margin)
    assert_close(margin.scale.item(), 0.9595644113141502)
    value(margin.eval())
    assert_close(margin.scale.item(), 0.9595644113141502)


def test_errors_of_a_batch():
    cosines = torch.zeros(1, 2)
    targets = whole_batch(cosines, torch.tensor([0]))
    with pytest.raises(ValueError, match="AdaCos needs 3 classes or more, got 2"):
        AdaCos()(cosines, targets)
