"""The search for medoids beside its published steps, and the NMI beside scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score
from torch.testing import assert_close

from ssl_dml.losses.medoids import assign, nmi, worst_medoids


def table(rows):
    return np.linalg.norm(rows[:, None] - rows, axis=2)


def value_of(distances, labels, medoids, margin, normalizer):
    """What the search maximizes, from its definition."""
    groups = distances[:, medoids].argmin(axis=1)
    groups[list(medoids)] = range(len(medoids))
    found = normalized_mutual_info_score(labels, groups, average_method=normalizer)
    return -distances[:, medoids].min(axis=1).sum() + margin * (1 - found)


def first_best(scores):
    """Two members of a cluster of two are equally good, up to rounding."""
    return next(i for i, score in enumerate(scores) if score > max(scores) - 1e-10)


def slow_search(distances, labels, margin, normalizer, sweeps):
    """Song's algorithms with an NMI from scratch for every candidate."""
    number = len(set(labels.tolist()))
    medoids: list[int] = []
    for _ in range(number):
        free = [i for i in range(len(labels)) if i not in medoids]
        scores = [value_of(distances, labels, [*medoids, i], margin, normalizer) for i in free]
        medoids.append(free[first_best(scores)])
    for _ in range(sweeps):
        groups = assign(distances, np.array(medoids))
        for k in range(number):
            members = np.flatnonzero(groups == k)
            scores = []
            for m in members:
                changed = [*medoids[:k], m, *medoids[k + 1 :]]
                nmi_of = normalized_mutual_info_score(
                    labels, assign(distances, np.array(changed)), average_method=normalizer
                )
                scores.append(-distances[members, m].sum() + margin * (1 - nmi_of))
            medoids[k] = int(members[first_best(scores)])
    return medoids


@pytest.mark.parametrize("normalizer", ["geometric", "arithmetic"])
@pytest.mark.parametrize("margin", [0.5, 10.0])
@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4))]
)
def test_the_search_is_that_of_its_definition(normalizer, margin, seed):
    rng = np.random.default_rng(seed)
    distances = table(rng.normal(size=(24, 3)))
    labels = rng.integers(0, 5, 24)
    labels[:5] = range(5)
    for sweeps in (0, 1, 5):
        medoids, groups = worst_medoids(
            distances, labels, margin=margin, normalizer=normalizer, sweeps=sweeps
        )
        assert medoids.tolist() == slow_search(distances, labels, margin, normalizer, sweeps)
        assert groups.tolist() == assign(distances, medoids).tolist()


@pytest.mark.parametrize("normalizer", ["geometric", "arithmetic"])
def test_nmi_is_that_of_scikit_learn(normalizer):
    rng = np.random.default_rng(0)
    for parts in range(1, 6):
        classes, groups = rng.integers(0, 3, 30), rng.integers(0, parts, 30)
        expected = normalized_mutual_info_score(classes, groups, average_method=normalizer)
        assert_close(nmi(classes, groups, normalizer=normalizer), expected)
    assert nmi(np.zeros(4, int), np.zeros(4, int), normalizer=normalizer) == 1
