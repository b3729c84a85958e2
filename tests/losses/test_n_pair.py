"""N-pair losses beside values computed elsewhere."""

import math

import torch
from rows import small
from torch.testing import assert_close

from ssl_dml.losses import NPair, n_pair
from ssl_dml.types import LabeledEmbeddings


def test_values_computed_elsewhere():
    rows, _ = small()
    anchors, positives = rows[::2], rows[1::2]
    assert_close(n_pair(anchors, positives, l2=0.0).item(), 0.8255886406326048)
    assert_close(n_pair(anchors, positives, l2=0.0, against="one").item(), 0.9765843462775065)
    assert_close(n_pair(anchors, positives, l2=0.002).item(), 0.8263436406326046)
    # An (N+1)-tuplet is one pair with its negatives in a memory.
    negatives = LabeledEmbeddings(rows[[3, 5]], torch.tensor([1, 2]))
    one = n_pair(rows[:1], rows[1:2], torch.tensor([0]), l2=0.0, memory=negatives)
    assert_close(one.item(), 0.6869306796618297)


def tuplet(anchor, positive, negatives):
    """Eq. 6 of the paper, in Python floats."""
    own, *others = (
        sum(x * y for x, y in zip(anchor, row, strict=True)) for row in (positive, *negatives)
    )
    return math.log(1 + sum(math.exp(other - own) for other in others))


def test_tuplets_with_the_other_positives_are_n_pair():
    anchors, positives = torch.randn(2, 4, 3, dtype=torch.float64)
    a, p = anchors.tolist(), positives.tolist()
    expected = sum(tuplet(a[i], p[i], p[:i] + p[i + 1 :]) for i in range(4)) / 4
    assert_close(n_pair(anchors, positives, l2=0.0).item(), expected)


def test_pairs_of_one_class_are_not_negatives():
    """Twice the same pairs: no other class is closer than before."""
    rows, labels = small()
    twice = NPair(l2=0.0)(torch.cat([rows, rows]), torch.cat([labels, labels]))
    negatives = n_pair(rows[::2], rows[1::2], l2=0.0)
    assert twice > negatives  # each other class is there twice
    same = n_pair(rows[::2], rows[1::2], torch.zeros(3).long(), l2=0.0)
    assert same == 0


def test_an_odd_row_is_left():
    rows, labels = small()
    more = torch.cat([rows, torch.randn(2, 3, dtype=torch.float64)])
    assert_close(NPair()(more, torch.cat([labels, torch.tensor([0, 9])])), NPair()(rows, labels))


def test_equal_rows_cost_the_logarithm_of_the_pairs():
    same = torch.ones(5, 3)
    assert_close(n_pair(same, same, l2=0.0).item(), math.log(5))
