"""Losses on continuous labels beside loops over their triplets."""

import itertools
import math

import pytest
import torch
from torch.testing import assert_close

from ssl_dml.losses import dense_triplet, log_ratio

ROWS = [[0.5, 0.1], [0.9, 0.4], [-0.2, 0.8], [0.3, -0.6], [1.4, 0.2]]
TARGETS = [0.0, 0.3, 1.1, 0.7, 2.0]


def given():
    return torch.tensor(ROWS, dtype=torch.float64), torch.tensor(TARGETS, dtype=torch.float64)


def reference(rows, targets):
    """Triplet by triplet; targets are vectors."""
    means = []
    for a in range(len(rows)):
        others = [i for i in range(len(rows)) if i != a and targets[i] != targets[a]]
        terms = [
            4
            * (
                math.log(math.dist(rows[a], rows[i]) / math.dist(rows[a], rows[j]))
                - math.log(math.dist(targets[a], targets[i]) / math.dist(targets[a], targets[j]))
            )
            ** 2
            for i, j in itertools.combinations(others, 2)
        ]
        means.append(sum(terms) / len(terms))
    return sum(means) / len(means)


@pytest.mark.parametrize("dim", [1, 3])
def test_matches_definition(dim):
    rows = torch.randn(7, 4, dtype=torch.float64)
    targets = torch.randint(0, 4, (7, dim)).double()
    targets[0] += 9  # every anchor has two others at least
    expected = reference(rows.tolist(), targets.tolist())
    assert_close(log_ratio(rows, targets).item(), expected)
    if dim == 1:
        assert_close(log_ratio(rows, targets[:, 0]).item(), expected)


def test_values_computed_elsewhere():
    rows, targets = given()
    found = log_ratio(rows, targets, anchors=1).item()
    assert_close(found, 2.3232546565006227)
    # Distances without squares make it a quarter; the authors' code adds small numbers to them.
    assert_close(found / 4, 0.5808136641251557)
    assert_close(found / 4, 0.5808411852670982, rtol=1e-4, atol=0)
    assert_close(dense_triplet(rows, targets, anchors=1).item(), 0.06)


def test_gradient_computed_elsewhere():
    rows, targets = given()
    rows.requires_grad_()
    log_ratio(rows, targets, anchors=1).backward()
    first = torch.tensor([-0.7879207271398005, -2.407693164262264], dtype=torch.float64)
    assert_close(rows.grad[0], first)


@pytest.mark.parametrize("loss", [log_ratio, dense_triplet])
def test_gradient(loss):
    rows = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0.0, 1.0, 1.0, 2.5, 4.0])
    assert torch.autograd.gradcheck(lambda rows: loss(rows, targets), rows)


def test_dense_triplet_matches_definition():
    rows = torch.randn(6, 3, dtype=torch.float64)
    targets = torch.tensor([0.0, 1.0, 1.0, 2.0, 4.0, 4.5])
    values, points = targets.tolist(), rows.tolist()
    hinges = [
        max(0, math.dist(points[a], points[i]) ** 2 - math.dist(points[a], points[j]) ** 2 + 0.2)
        for a, i, j in itertools.permutations(range(6), 3)
        if abs(values[a] - values[i]) < abs(values[a] - values[j])
    ]
    assert_close(dense_triplet(rows, targets).item(), sum(hinges) / len(hinges))


def test_proportional_distances_cost_nothing():
    targets = torch.tensor([0.0, 1.0, 2.0, 5.0])
    assert log_ratio(3 * targets[:, None], targets).item() < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_is_finite_at_duplicates(dtype):
    rows = torch.ones(4, 3, dtype=dtype, requires_grad=True)
    value = log_ratio(rows, torch.tensor([0.0, 1.0, 3.0, 4.0]))
    value.backward()
    assert value.isfinite()
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize("loss", [log_ratio, dense_triplet])
def test_equal_labels_are_0_without_nan(loss):
    rows = torch.randn(4, 3, requires_grad=True)
    value = loss(rows, torch.ones(4))
    value.backward()
    assert value == 0
    assert (rows.grad == 0).all()


def test_errors():
    rows, targets = given()
    with pytest.raises(ValueError, match="anchors must be from 1 to 5, got 6"):
        log_ratio(rows, targets, anchors=6)
    with pytest.raises(ValueError, match="targets need one entry a row: 4 for 5 rows"):
        log_ratio(rows, targets[:4])
    with pytest.raises(ValueError, match="margin must be at least 0"):
        dense_triplet(rows, targets, margin=-1.0)
