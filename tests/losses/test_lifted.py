"""The lifted structured loss beside its definition."""

import math

import pytest
from rows import batch, small
from torch.testing import assert_close

from ssl_dml.losses import generalized_lifted, lifted
from ssl_dml.types import LabeledEmbeddings


def reference(rows, labels, margin):
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
            total += max(0, smooth + math.dist(a, b)) ** 2
            count += 1
    return total / (2 * count)


@pytest.mark.parametrize("margin", [0.0, 1.0, 10.0])
def test_matches_definition(margin):
    rows, labels = batch(classes=3)
    expected = reference(rows.tolist(), labels.tolist(), margin)
    assert_close(lifted(rows, labels, margin=margin).item(), expected)


def test_values_computed_elsewhere():
    rows, labels = small()
    assert_close(lifted(rows, labels).item(), 3.2810935728825226)
    assert_close(generalized_lifted(rows, labels).item(), 1.8526183345884857)


def test_far_rows_cost_the_hardest_negative_computed_elsewhere():
    """The smooth maximum of eq. 4 nears the largest term of eq. 3 as distances grow."""
    rows, labels = small()
    found = lifted(1e7 * rows, labels, margin=1e7) / 1e14
    assert_close(found.item(), 0.5083929124045147, rtol=1e-5, atol=0)


def test_negatives_in_a_memory_are_of_both_ends_of_a_pair():
    """Of a pair within the batch; to a row of the memory the batch alone is compared."""
    rows, labels = batch(classes=3, of_each=2)
    found = lifted(rows[:4], labels[:4], memory=LabeledEmbeddings(rows[4:], labels[4:]))
    total, count = 0.0, 0
    points, classes = rows.tolist(), labels.tolist()
    for i in range(4):
        for j in range(6):
            if i == j or classes[i] != classes[j]:
                continue
            terms = [
                1 - math.dist(points[end], points[k])
                for end, seen in ((i, 6), (j, 6 if j < 4 else 4))
                for k in range(seen)
                if classes[k] != classes[i]
            ]
            largest = max(terms)
            smooth = largest + math.log(sum(math.exp(term - largest) for term in terms))
            total += max(0, smooth + math.dist(points[i], points[j])) ** 2
            count += 1
    assert count
    assert_close(found.item(), total / (2 * count))
