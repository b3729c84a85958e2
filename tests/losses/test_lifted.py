"""The lifted structured loss beside its definition."""

import math

import pytest
from rows import batch, small
from torch.testing import assert_close

from ssl_dml.losses import lifted


def reference(rows, labels, margin, form):
    """Pair by pair."""
    total, count = 0.0, 0
    for i, a in enumerate(rows):
        for j, b in enumerate(rows[:i]):
            if labels[i] != labels[j]:
                continue
            terms = [
                margin - math.dist(end, other)
                for end, own in ((a, labels[i]), (b, labels[j]))
                for other, label in zip(rows, labels, strict=True)
                if label != own
            ]
            largest = max(terms)
            smooth = largest + math.log(sum(math.exp(term - largest) for term in terms))
            end = smooth if form == "smooth" else largest
            total += max(0, end + math.dist(a, b)) ** 2
            count += 1
    return total / (2 * count)


@pytest.mark.parametrize("form", ["smooth", "hardest"])
@pytest.mark.parametrize("margin", [0.0, 1.0, 10.0])
def test_matches_definition(form, margin):
    rows, labels = batch(classes=3)
    expected = reference(rows.tolist(), labels.tolist(), margin, form)
    assert_close(lifted(rows, labels, margin=margin, form=form).item(), expected)


def test_values_computed_elsewhere():
    rows, labels = small()
    assert_close(lifted(rows, labels).item(), 3.2810935728825226)
    assert_close(lifted(rows, labels, form="hardest").item(), 0.5083929124045147)
    assert_close(lifted(rows, labels, form="generalised").item(), 1.8526183345884857)
