import math

import numpy as np
import pytest
import torch

from ssl_dml.evaluation import alignment, health
from ssl_dml.evaluation.health import evenly_spaced


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
