"""The clustering loss beside scikit-learn's NMI, an exhaustive search and its published steps."""

import itertools
import time

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score
from torch.testing import assert_close

from ssl_dml.losses import FacilityLocation, facility_location
from ssl_dml.losses.medoids import worst_medoids
from ssl_dml.mining import All

ROWS = [
    *([0.0, 0.0], [0.2, 0.1], [1.1, 0.9], [1.0, 1.0], [1.2, 0.8], [0.1, 0.3]),
    *([2.0, 0.1], [2.2, 0.0], [1.0, 0.4]),
]
LABELS = [0, 0, 0, 1, 1, 1, 2, 2, 2]
# By gamma and normalizer: after the greedy search, and after five sweeps.
VALUES = {
    (1.0, "arithmetic"): (2.4974793501032893, 3.2618502331286283),
    (1.0, "geometric"): (2.4974192697971196, 3.261790152822459),
    (10.0, "arithmetic"): (7.960420385419459, 8.724791268444799),
    (10.0, "geometric"): (7.959819582357765, 8.724190465383105),
}


def given():
    return torch.tensor(ROWS, dtype=torch.float64), torch.tensor(LABELS)


def table(rows):
    return np.linalg.norm(rows[:, None] - rows, axis=2)


def value_of(distances, labels, medoids, margin, normalizer):
    """What the search maximizes, from its definition."""
    groups = distances[:, medoids].argmin(axis=1)
    groups[list(medoids)] = range(len(medoids))
    found = normalized_mutual_info_score(labels, groups, average_method=normalizer)
    return -distances[:, medoids].min(axis=1).sum() + margin * (1 - found)


@pytest.mark.parametrize(("margin", "normalizer"), VALUES)
def test_values_computed_elsewhere(margin, normalizer):
    rows, labels = given()
    for sweeps, expected in zip((0, 5), VALUES[margin, normalizer], strict=True):
        found = facility_location(rows, labels, margin=margin, normalizer=normalizer, sweeps=sweeps)
        assert_close(found.item(), expected)


def test_it_never_exceeds_the_exhaustive_maximum_and_often_reaches_it():
    reached = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows, labels = rng.normal(size=(10, 2)), rng.permutation(np.arange(10) % 3)
        distances = table(rows)
        best = max(
            value_of(distances, labels, list(medoids), 2.0, "geometric")
            for medoids in itertools.combinations(range(10), 3)
        )
        medoids, _ = worst_medoids(distances, labels, margin=2.0, normalizer="geometric", sweeps=5)
        found = value_of(distances, labels, medoids.tolist(), 2.0, "geometric")
        assert found <= best + 1e-9
        if found > best - 1e-9:
            reached += 1
            wanted = sum(
                -min(distances[np.ix_(labels == c, [j])].sum() for j in np.flatnonzero(labels == c))
                for c in range(3)
            )
            loss = facility_location(torch.from_numpy(rows), torch.from_numpy(labels), margin=2.0)
            assert_close(loss.item(), max(0.0, best - wanted))
    assert reached >= 10


def test_gradient_is_that_of_the_chosen_distances():
    rows, labels = given()
    assert torch.autograd.gradcheck(
        lambda rows: facility_location(rows, labels), rows.requires_grad_()
    )


def test_separate_classes_cost_nothing():
    rows = torch.tensor([[0.0, 0.0], [0.1, 0.0], [9.0, 0.0], [9.1, 0.0]])
    labels = torch.tensor([0, 0, 1, 1])
    assert facility_location(rows, labels) == 0
    assert facility_location(rows, labels[[0, 2, 1, 3]]) > 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 2, 3]])
def test_duplicates_and_single_classes_are_finite(dtype, labels):
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=dtype)
    rows.requires_grad_()
    loss = facility_location(rows, torch.tensor(labels))
    loss.backward()
    assert loss.isfinite()
    assert rows.grad.isfinite().all()


def test_a_batch_of_128_with_32_classes_takes_less_than_three_tenths_of_a_second():
    rows = torch.nn.functional.normalize(torch.randn(128, 64), dim=1).requires_grad_()
    labels = torch.arange(32).repeat_interleave(4)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        facility_location(rows, labels).backward()
        times.append(time.perf_counter() - began)
    assert min(times) < 0.3


def test_errors():
    rows, labels = given()
    with pytest.raises(ValueError, match="margin must be positive"):
        facility_location(rows, labels, margin=0.0)
    with pytest.raises(ValueError, match="sweeps must be at least 0, got -1"):
        facility_location(rows, labels, sweeps=-1)
    with pytest.raises(ValueError, match="leave out miner and memory"):
        FacilityLocation()(rows, labels, mined=All()(rows, labels))
