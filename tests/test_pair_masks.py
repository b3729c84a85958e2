"""Masks of pairs, and searches and counts of ranges, beside loops."""

import bisect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from ssl_dml.losses import Contrastive
from ssl_dml.pair_masks import (
    _bisected,
    batched_searchsorted,
    count_ranges,
    pair_masks,
    rank_in_group,
)
from ssl_dml.types import LabeledEmbeddings, Triplets

groups = st.lists(st.integers(0, 4), max_size=12).map(sorted)


def test_masks_of_a_batch_and_a_memory():
    rows = torch.randn(5, 3)
    labels, classes = [0, 0, 1, -1, 2], [0, 1, -1, 7]
    memory = LabeledEmbeddings(torch.randn(4, 3, requires_grad=True), torch.tensor(classes))
    found = pair_masks(rows, torch.tensor(labels), memory)
    assert_close(found.references, torch.cat([rows, memory.embeddings.detach()]))
    assert not found.references.requires_grad
    for a, own in enumerate(labels):
        for i, other in enumerate(labels + classes):
            known = own >= 0 and other >= 0
            assert found.positive[a, i] == (known and own == other and i != a)
            assert found.negative[a, i] == (known and own != other)


def test_mined_pairs_are_those_of_the_triplets():
    pairs = pair_masks(torch.randn(4, 3), torch.tensor([0, 0, 1, 2]))
    order = torch.tensor([[3, 2, 0, 1], [2, 3, 0, 1], [0, 1, 2, 3], [0, 1, 2, 3]])
    one, two = torch.tensor([0, 1]), torch.tensor([1, 0])
    mined = Triplets(order, one, two, torch.tensor([0, 1]), torch.tensor([1, 1]))
    found = pairs.mined(mined)
    assert found.positive.nonzero().tolist() == [[0, 1]]  # the range of the other pair is empty
    assert found.negative.nonzero().tolist() == [[0, 3]]
    assert pairs.mined(None) is pairs


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 4)), max_size=9))
def test_count_ranges(given_ranges):
    ranges = sorted((a, min(low, high), max(low, high)) for a, low, high in given_ranges)
    anchors, low, high = torch.tensor(ranges, dtype=torch.long).view(-1, 3).T
    triplets = Triplets(torch.zeros(3, 4, dtype=torch.long), anchors, anchors, low, high)
    expected = [
        [sum(own == a and b <= k < e for own, b, e in ranges) for k in range(4)] for a in range(3)
    ]
    assert count_ranges(triplets, low, high).tolist() == expected


@settings(deadline=None, max_examples=40)
@given(groups)
def test_rank_in_group(anchors):
    numbers, most = rank_in_group(torch.tensor(anchors, dtype=torch.long), 5, 9)
    assert numbers.tolist() == [anchors[:i].count(a) for i, a in enumerate(anchors)]
    assert most == max(map(anchors.count, range(5)))


@settings(deadline=None, max_examples=40)
@given(groups, st.booleans(), st.integers(0, 2**31))
def test_batched_searchsorted(anchors, or_equal, seed):
    generator = torch.Generator().manual_seed(seed)
    rising = torch.randint(0, 5, (5, 6), generator=generator).float().sort(dim=1).values
    values = torch.randint(-1, 6, (len(anchors),), generator=generator).float()
    rows = torch.tensor(anchors, dtype=torch.long)
    found = batched_searchsorted(values, rising, rows, or_equal=or_equal)
    search = bisect.bisect_right if or_equal else bisect.bisect_left
    pairs = zip(anchors, values.tolist(), strict=True)
    assert found.tolist() == [search(rising[a].tolist(), value) for a, value in pairs]
    assert _bisected(values, rising, rows, or_equal=or_equal).equal(found)  # as on a device


def test_a_memory_of_another_dimension_is_named():
    memory = LabeledEmbeddings(torch.randn(4, 3), torch.zeros(4).long())
    with pytest.raises(ValueError, match="the memory holds rows of 3 dimensions, the batch of 5"):
        Contrastive()(torch.randn(2, 5), torch.tensor([0, 1]), memory)


def test_labels_of_another_length_are_named():
    with pytest.raises(ValueError, match="labels need one entry a row: 2 for 3 rows"):
        pair_masks(torch.randn(3, 5), torch.tensor([0, 1]))
