import math

import numpy as np
import pytest
import torch
from scipy import linalg
from scipy.spatial.distance import cdist

from ssl_dml.evaluation import alignment, health
from ssl_dml.evaluation.health import alpha_req, evenly_spaced, intrinsic_dimension, lidar


def test_orthogonal_rows_have_full_rank():
    assert health(torch.eye(16))["rankme"] == pytest.approx(16, rel=1e-4)


def test_equal_rows_have_collapsed():
    found = health(torch.ones(50, 8))
    assert found["rankme"] == pytest.approx(1, abs=1e-3)
    assert found["uniformity"] == pytest.approx(0, abs=1e-6)
    assert found["spread"] == pytest.approx(0, abs=1e-6)


def test_a_sphere_is_healthy():
    found = health(torch.randn(2000, 32))
    assert found["spread"] == pytest.approx(1, abs=0.02)
    # On a sphere of many dimensions squared distances gather at 2.
    assert found["uniformity"] == pytest.approx(-4, abs=0.3)
    assert found["rankme"] > 30


def test_rankme_matches_its_definition():
    rows = torch.randn(40, 6) * torch.tensor([1, 2, 3, 0.1, 0.01, 5.0])
    singular = np.linalg.svd(rows.numpy().astype(np.float64), compute_uv=False)
    p = singular / singular.sum() + 1e-7
    assert health(rows)["rankme"] == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-9)


def test_many_rows_are_thinned():
    rows = torch.randn(10_000, 4)
    assert health(rows) == health(rows[evenly_spaced(10_000, 2048)])


def test_rows_are_spread_to_both_ends():
    found = evenly_spaced(4_000, 2_048)
    assert (found[0], found[-1]) == (0, 3_999)
    assert len(found.unique()) == 2_048
    assert evenly_spaced(3, 10).tolist() == [0, 1, 2]


def test_alignment_known_values():
    eye = torch.eye(4)
    assert alignment(eye, 3 * eye) == pytest.approx(0)
    assert alignment(eye, eye.roll(1, 0)) == pytest.approx(2)
    assert alignment(eye, -eye) == pytest.approx(4)


def test_alpha_req_is_a_weighted_line_through_the_eigenvalues():
    rows = torch.randn(300, 120) * torch.arange(1, 121) ** -0.6
    values = np.linalg.eigvalsh(np.cov(rows.numpy().astype(float).T))[::-1]
    ranks = np.arange(4, 101)
    # polyfit squares its weights
    slope, _ = np.polyfit(np.log(ranks), np.log(values[3:100]), 1, w=ranks**-0.5)
    assert alpha_req(rows) == pytest.approx(-slope, rel=1e-6)
    assert alpha_req(7 * rows + 3) == pytest.approx(-slope, rel=1e-4)


def test_alpha_req_needs_a_spectrum():
    assert alpha_req(torch.ones(60, 40)) == 0
    assert alpha_req(torch.randn(60, 4)) == 0


def test_lidar_is_that_of_the_generalized_eigenvalues():
    views = torch.randn(50, 1, 6) + 0.3 * torch.randn(50, 4, 6) * torch.arange(1, 7)
    array = views.numpy().astype(float)
    means = array.mean(axis=1)
    between = np.cov(means.T, bias=True)
    within = sum(np.cov(one.T, bias=True) for one in array) / 50 + 1e-4 * np.eye(6)
    p = linalg.eigh(between, within, eigvals_only=True)
    p = p / p.sum() + 1e-7
    assert lidar(views) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-6)


def test_lidar_of_views_that_collapse_is_1():
    assert lidar(torch.ones(20, 3, 5)) == pytest.approx(1, abs=1e-3)
    line = torch.arange(20.0)[:, None, None] * torch.ones(1, 3, 5)
    assert lidar(line) == pytest.approx(1, abs=1e-3)


def two_nearest(rows):
    far = np.sort(cdist(rows, rows), axis=1)
    return torch.from_numpy(far[:, 1:3])


def test_intrinsic_dimension_is_the_fit_of_facco():
    near = two_nearest(np.random.default_rng(0).normal(size=(200, 3)))
    ratios = np.sort(near[:, 1] / near[:, 0])[:180]
    x, y = np.log(ratios), -np.log(1 - np.arange(1, 181) / 200)
    slope = np.linalg.lstsq(np.array(x)[:, None], y, rcond=None)[0]
    assert intrinsic_dimension(near) == pytest.approx(slope[0], rel=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_a_plane_in_many_dimensions_has_its_own(dim):
    rng = np.random.default_rng(1)
    flat = rng.random((1500, dim)) @ np.linalg.qr(rng.normal(size=(20, dim)))[0].T
    assert intrinsic_dimension(two_nearest(flat)) == pytest.approx(dim, rel=0.12)


def test_copies_do_not_count():
    near = torch.tensor([[0.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    # log 2 is at F = 1 / 2 of the two rows left, of which nine tenths are the first
    assert intrinsic_dimension(near) == pytest.approx(1.0)
    assert intrinsic_dimension(torch.zeros(4, 2)) == 0
