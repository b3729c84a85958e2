"""The lifted structured loss beside its definition."""

import math

import pytest
from rows import batch, small
from torch.testing import assert_close

from ssl_dml.losses import lifted
from ssl_dml.types import LabeledEmbeddings


def reference(rows, labels, margin, variant):
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
            end = smooth if variant == "smooth" else largest
            total += max(0, end + math.dist(a, b)) ** 2
            count += 1
    return total / (2 * count)


@pytest.mark.parametrize("variant", ["smooth", "hardest"])
@pytest.mark.parametrize("margin", [0.0, 1.0, 10.0])
def test_matches_definition(variant, margin):
    rows, labels = batch(classes=3)
    expected = reference(rows.tolist(), labels.tolist(), margin, variant)
    assert_close(lifted(rows, labels, margin=margin, variant=variant).item(), expected)


def test_values_computed_elsewhere():
    rows, labels = small()
    assert_close(lifted(rows, labels).item(), 3.2810935728825226)
    assert_close(lifted(rows, labels, variant="hardest").item(), 0.5083929124045147)
    assert_close(lifted(rows, labels, variant="generalized").item(), 1.8526183345884857)


@pytest.mark.parametrize("variant", ["smooth", "hardest"])
def test_negatives_in_a_memory_are_of_both_ends_of_a_pair(variant):
    """Of a pair within the batch; to a row of the memory the batch alone is compared."""
    rows, labels = batch(classes=3, of_each=2)
    found = lifted(
        rows[:4], labels[:4], variant=variant, memory=LabeledEmbeddings(rows[4:], labels[4:])
    )
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
            end = smooth if variant == "smooth" else largest
            total += max(0, end + math.dist(points[i], points[j])) ** 2
            count += 1
    assert count
    assert_close(found.item(), total / (2 * count))
