"""Health of a table, and sentences on what is unusual."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from ssl_dml.evaluation.checkup import checkup, unusual
from ssl_dml.evaluation.health import alignment, intrinsic_dimension, lidar
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError


def table(rows):
    return EmbeddingTable(embeddings=rows, labels=torch.full((len(rows),), -1))


def test_hubness_and_dimension_are_those_of_sklearns_neighbors():
    rows = torch.randn(300, 12)
    unit = (rows / rows.norm(dim=1, keepdim=True)).numpy().astype(float)
    far, near = NearestNeighbors(n_neighbors=10).fit(unit).kneighbors()
    found = checkup(table(rows))
    counts = np.bincount(near.ravel(), minlength=300)
    assert found["hubness"] == pytest.approx(stats.skew(counts), rel=1e-9)
    expected = intrinsic_dimension(torch.from_numpy(far[:, :2]))
    assert found["intrinsic_dimension"] == pytest.approx(expected, rel=1e-6)
    assert found["dimensions"] == 12
    assert {"lidar", "alignment"}.isdisjoint(found)


def test_views_add_two_measures():
    views = torch.randn(60, 1, 5) + 0.1 * torch.randn(60, 3, 5)
    found = checkup(table(torch.randn(60, 5)), views=views)
    assert found["lidar"] == lidar(views)
    assert found["alignment"] == alignment(views[:, 0], views[:, 1])


def test_neighbors_are_searched_among_some_of_many(monkeypatch):
    rows = torch.randn(601, 3)
    monkeypatch.setattr("ssl_dml.evaluation.checkup.ROWS", 301)
    some, own = checkup(table(rows)), checkup(table(rows[::2]))
    for name in ("hubness", "intrinsic_dimension"):
        assert some[name] == own[name]


def test_what_cannot_be_measured_is_one_line():
    with pytest.raises(ConfigError, match="health needs 50 samples or more, got 49: embed more"):
        checkup(table(torch.randn(49, 3)))
    with pytest.raises(ConfigError, match="health is of one table: leave --query out"):
        checkup(table(torch.randn(60, 3)), table(torch.randn(60, 3)))
    with pytest.raises(ValueError, match="NaN or infinity"):
        checkup(table(torch.full((60, 3), torch.nan)))


def test_a_healthy_table_is_not_remarked_on():
    usual = {"dimensions": 128.0, "rankme": 40.0, "spread": 0.4, "uniformity": -0.6}
    usual |= {"alpha_req": 1.8, "hubness": 0.6, "intrinsic_dimension": 5.0}
    assert unusual({**usual, "lidar": 44.0, "alignment": 0.1}) == []


def test_a_collapsed_one_is():
    base = torch.randn(1, 64)
    found = checkup(table(base + 1e-3 * torch.randn(200, 1) * torch.randn(1, 64)))
    told = unusual(found)
    names = [line.partition(" is ")[0].rpartition(" ")[0] for line in told]
    assert {"RankMe", "spread", "uniformity"} <= {*names}
    assert all(line.count(":") == 1 for line in told)


def test_both_sides_of_a_range_are_told():
    low, high = ({"dimensions": 64.0, "alpha_req": value} for value in (0.2, 4.5))
    assert unusual(low)[0].endswith("noise fills the dimensions")
    assert unusual(high)[0].endswith("few directions rule all")
