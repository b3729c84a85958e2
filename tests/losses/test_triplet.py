"""The triplet loss beside a loop over all triplets."""

import itertools
import math

import pytest
import torch
from rows import batch, small, value_and_gradient
from torch.testing import assert_close

from ssl_dml.losses import triplet
from ssl_dml.mining import All, BatchHard, FaceNet
from ssl_dml.types import LabeledEmbeddings


def reference(rows, labels, margin, reduction, squared, memory=((), ())):
    """Triplet by triplet."""
    references, classes = [*rows, *memory[0]], [*labels, *memory[1]]
    hinges = []
    for a, p, n in itertools.product(range(len(rows)), *[range(len(references))] * 2):
        if a != p and labels[a] == classes[p] and labels[a] != classes[n]:
            near, far = (math.dist(rows[a], references[other]) for other in (p, n))
            power = 2 if squared else 1
            hinges.append(max(0, near**power - far**power + margin))
    above = [hinge for hinge in hinges if hinge > 0]
    if reduction == "sum":
        return sum(hinges)
    return sum(above) / len(above if reduction == "non_zero" else hinges)


@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0, 5.0])
@pytest.mark.parametrize("reduction", ["mean", "non_zero", "sum"])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("beside", [0, 7])
def test_matches_definition(margin, reduction, squared, beside):
    rows, labels = batch(classes=3)
    memory = LabeledEmbeddings(
        torch.randn(beside, 5, dtype=torch.float64), torch.arange(beside) % 4
    )
    expected = reference(
        rows.tolist(),
        labels.tolist(),
        margin,
        reduction,
        squared,
        (memory.embeddings.tolist(), memory.labels.tolist()),
    )
    found = triplet(
        rows,
        labels,
        margin=margin,
        reduction=reduction,
        distance="squared" if squared else "euclidean",
        memory=memory if beside else None,
    )
    assert_close(found.item(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("margin", [0.3, None])
@pytest.mark.parametrize("reduction", ["mean", "non_zero", "sum"])
def test_triplets_that_were_ranked_by_another_distance(margin, reduction):
    """So many that they are not listed, and in no order by the distance of the loss."""
    rows, labels = batch()
    options = {"margin": margin, "reduction": reduction, "distance": "cosine"}
    mined = All()(rows.detach(), labels)
    assert (mined.high - mined.low).sum() > len(rows) ** 2
    found = value_and_gradient(triplet_of(options, mined), rows, labels)
    assert_close(found, value_and_gradient(triplet_of(options, None), rows, labels))


def triplet_of(options, mined):
    return lambda rows, labels: triplet(rows, labels, mined=mined, **options)


def test_values_computed_elsewhere():
    rows, labels = small()
    assert_close(triplet(rows, labels).item(), 0.03549896359043198)
    assert_close(triplet(rows, labels, reduction="non_zero").item(), 0.28399170872345586)
    assert_close(triplet(rows, labels, margin=1.0).item(), 0.4402779968968047)
    facenet = triplet(rows, labels, margin=1.0, distance="squared", mined=FaceNet()(rows, labels))
    assert_close(facenet.item(), 0.27833333333333327)
    hard = BatchHard()(rows, labels)
    assert_close(triplet(rows, labels, mined=hard).item(), 0.14199585436172793)
    assert_close(triplet(rows, labels, margin=None, mined=hard).item(), 0.5942557797769442)


def test_equal_rows_cost_the_margin():
    labels = torch.tensor([0, 0, 1, 1])
    assert_close(triplet(torch.ones(4, 3), labels, margin=0.7).item(), 0.7)


def test_float32_keeps_the_sum_of_many():
    """Running sums over 2,000 sorted distances lose nothing of their small differences."""
    labels = torch.arange(500).repeat_interleave(4)
    rows = torch.randn(2000, 16)
    wide = triplet(rows.double(), labels, margin=0.01, reduction="sum")
    assert_close(
        triplet(rows, labels, margin=0.01, reduction="sum").double(), wide, rtol=1e-5, atol=0
    )
