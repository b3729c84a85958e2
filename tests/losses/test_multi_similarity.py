"""The multi-similarity loss beside its definition and a value computed elsewhere."""

import math

import pytest
from rows import batch, small
from torch.testing import assert_close

from ssl_dml.losses import multi_similarity


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def reference(rows, labels, alpha, beta, base):
    """Eq. 15 of arXiv:1904.06627 in Python floats."""
    total = 0.0
    for a, row in enumerate(rows):
        s = {i: cosine(row, other) - base for i, other in enumerate(rows) if i != a}
        pull = sum(math.exp(-alpha * s[i]) for i in s if labels[i] == labels[a])
        push = sum(math.exp(beta * s[i]) for i in s if labels[i] != labels[a])
        total += math.log(1 + pull) / alpha + math.log(1 + push) / beta
    return total / len(rows)


def test_value_computed_elsewhere():
    rows, labels = small()
    assert_close(multi_similarity(rows, labels).item(), 0.3358917696629839)


@pytest.mark.parametrize(("alpha", "beta", "base"), [(2.0, 50.0, 0.5), (1.0, 3.0, -0.2)])
def test_matches_definition(alpha, beta, base):
    rows, labels = batch(classes=3)
    found = multi_similarity(rows, labels, alpha=alpha, beta=beta, base=base)
    assert_close(found.item(), reference(rows.tolist(), labels.tolist(), alpha, beta, base))
