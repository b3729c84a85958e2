"""Wrong labels are planted as said; cleanlab is named where it is missing."""

import sys

import pytest
import torch
from benchmarks.label_errors import label_table, mislabeled

from ssl_dml.types import ConfigError


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_wrong_labels_are_of_another_class_and_as_many_as_said(rate):
    labels = torch.arange(400) % 7
    given, wrong = mislabeled(labels, rate=rate, seed=3)
    assert torch.equal(given != labels, wrong)
    assert int(wrong.sum()) == round(400 * rate)
    assert given.unique().tolist() == list(range(7))
    assert not torch.equal(mislabeled(labels, rate=rate, seed=4)[1], wrong)


def test_without_cleanlab_the_way_to_get_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.rank", None)
    with pytest.raises(ConfigError, match="pip install cleanlab"):
        label_table()
