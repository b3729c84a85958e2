"""The test of drift equals its formulas, keeps its level, and finds what has changed."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import binom, chi2_contingency
from torch.testing import assert_close

from ssl_dml.evaluation.shift import BANDWIDTHS, shift


def rows(count, seed, dim=5):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def unit(values):
    values = values.double().numpy()
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_the_discrepancy_is_that_of_gretton():
    reference, new = rows(60, 0), rows(30, 1) + 0.5
    x, y = unit(new), unit(reference)
    both = np.concatenate([y, x])
    squares = cdist(both, both, "sqeuclidean")
    median = np.median(squares[~np.eye(len(both), dtype=bool)])
    expected = 0.0
    for scale in BANDWIDTHS:
        kernel = [
            np.exp(-cdist(a, b, "sqeuclidean") / (2 * scale**2 * median))
            for a, b in ((x, x), (y, y), (x, y))
        ]
        within = [(k.sum() - len(k)) / (len(k) * (len(k) - 1)) for k in kernel[:2]]
        expected += (sum(within) - 2 * kernel[2].mean()) / len(BANDWIDTHS)
    assert_close(shift(reference, new, draws=99).kernel.value, expected, rtol=1e-3, atol=1e-5)


def test_radius_and_distances_are_those_of_all_pairs():
    reference, new = rows(200, 0), torch.cat([rows(30, 1), 9 + 0.1 * rows(50, 2)])
    found = shift(reference, new, draws=99)
    own = cdist(unit(reference), unit(reference))
    np.fill_diagonal(own, np.inf)
    radius = np.sort(own.min(1))[198]  # 198 of 200 are nearer
    across = cdist(unit(new), unit(reference))
    assert_close(found.radius, float(radius), rtol=1e-3, atol=1e-3)
    assert_close(found.distances.double(), torch.from_numpy(across.min(1)), rtol=1e-3, atol=1e-3)
    assert found.nearest.tolist() == across.argmin(1).tolist()
    assert_close(found.outside.value, float((across.min(1) > radius).mean()))


def test_growth_is_the_root_of_chi_squared():
    found = shift(rows(200, 0), torch.cat([rows(80, 1), 4 + 0.1 * rows(20, 2)]), draws=99)
    most = found.clusters[0]
    table = [[200 * most.reference, 100 * most.new]]
    table.append([200 - table[0][0], 100 - table[0][1]])
    expected = chi2_contingency(table, correction=False).statistic ** 0.5
    assert_close(found.growth.value, expected, rtol=1e-4, atol=1e-4)
    assert most.new > most.reference
    assert sum(one.new for one in found.clusters) == pytest.approx(1)


def test_company_is_the_excess_of_new_rows_among_neighbors():
    reference, new = rows(200, 0), torch.cat([rows(40, 1), 4 + 0.3 * rows(10, 2)])
    both, share = unit(torch.cat([reference, new])), 50 / 250
    far = cdist(both, both)
    np.fill_diagonal(far, np.inf)
    found = []
    for row in range(200, 250):
        count = sum(other >= 200 for other in far[row].argsort()[:16])
        found.append(max(0.0, count - 16 * share) ** 2 / (16 * share * (1 - share)))
    company = shift(reference, new, draws=99).company
    assert_close(company.value, float(np.mean(found)), rtol=1e-5, atol=1e-5)
    assert company.p == 0.01


def test_a_kind_among_others_is_found_by_its_company():
    """Rows of a new kind that are inside the radius."""
    found = []
    for seed in range(5):
        reference, new = rows(1000, seed, 8), rows(200, 100 + seed, 8)
        new[:24] = 0.45 * new[:24] + rows(1, 50 + seed, 8)
        found.append(shift(reference, new, draws=199))
    assert sum(one.company.p <= 0.01 for one in found) >= 4
    assert sum(one.p <= 0.01 for one in found) >= 4
    assert all(one.outside.value < 0.1 for one in found)


def test_false_alarms_are_as_many_as_the_level_says():
    found = [
        shift(pool[:60], pool[60:], draws=99, seed=seed).p
        for seed, pool in ((i, rows(90, i).exp()) for i in range(60))
    ]
    alarms = sum(p <= 0.1 for p in found)
    assert binom.ppf(0.001, len(found), 0.1) <= alarms <= binom.ppf(0.999, len(found), 0.1)


def test_a_new_class_is_found_and_its_cluster_named():
    reference, new = rows(400, 0, 16), rows(100, 1, 16)
    new[85:] = 0.1 * new[85:] + 3 * torch.eye(16)[0]
    found = shift(reference, new, draws=199)
    assert found.p <= 0.01
    assert found.clusters[0].p <= 0.01
    assert found.clusters[0].nearest_new >= 85
    assert found.growth.p == found.clusters[0].p


def test_a_small_move_of_all_is_found_by_the_kernel():
    found = shift(rows(400, 0, 16), rows(100, 1, 16) + 0.3, draws=199)
    assert found.p <= 0.015
    assert found.kernel.p == 0.005


def test_the_same_rows_are_alike_at_any_length():
    reference = rows(100, 0)
    found, again = (shift(reference, new, draws=99) for new in (reference, 7 * reference))
    assert found.p == again.p > 0.5
    assert found.outside.value == 0


def test_rows_that_have_collapsed_are_alike():
    found = shift(torch.ones(50, 4), torch.ones(20, 4), draws=99)
    assert found.p > 0.05


def test_a_draw_is_the_same_for_a_seed():
    pair = rows(60, 0), rows(30, 1)
    assert shift(*pair, draws=99, seed=3).p == shift(*pair, draws=99, seed=3).p


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="new must be at least 8, got 7"):
        shift(rows(20, 0), rows(7, 1))
