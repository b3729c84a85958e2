"""The circle loss beside its definition and a value computed elsewhere."""

import math

import pytest
from rows import batch, small
from torch.testing import assert_close

from ssl_dml.losses import circle


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def reference(rows, labels, margin, scale):
    """Eq. 8 of arXiv:2002.10857 in Python floats."""
    total = 0.0
    for a, row in enumerate(rows):
        s = {i: cosine(row, other) for i, other in enumerate(rows) if i != a}
        pull = sum(
            math.exp(-scale * max(0, 1 + margin - s[i]) * (s[i] - 1 + margin))
            for i in s
            if labels[i] == labels[a]
        )
        push = sum(
            math.exp(scale * max(0, s[i] + margin) * (s[i] - margin))
            for i in s
            if labels[i] != labels[a]
        )
        total += math.log(1 + pull * push)
    return total / len(rows)


def test_value_computed_elsewhere():
    rows, labels = small()
    assert_close(circle(rows, labels, margin=0.4, scale=80.0).item(), 10.96662491419486)


@pytest.mark.parametrize(("margin", "scale"), [(0.25, 30.0), (0.4, 8.0), (0.0, 2.0)])
def test_matches_definition(margin, scale):
    rows, labels = batch(classes=3)
    found = circle(rows, labels, margin=margin, scale=scale)
    assert_close(found.item(), reference(rows.tolist(), labels.tolist(), margin, scale))
