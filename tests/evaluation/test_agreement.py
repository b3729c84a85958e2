"""Agreement of clusters beside scikit-learn."""

import pytest
import torch
from sklearn import metrics

from ssl_dml.evaluation.agreement import agreement


def test_values_computed_elsewhere():
    labels, clusters = [0, 0, 1, 0, 1, 1, 2, 2], [0, 0, 1, 0, 1, 1, 1, 2]
    found = agreement(torch.tensor(labels), torch.tensor(clusters))
    assert found["nmi"] == pytest.approx(0.7790167298328579, rel=1e-12)
    assert found["nmi_geometric"] == pytest.approx(0.7800908197053565, rel=1e-12)
    assert found["ami"] == pytest.approx(0.6661151488454436, rel=1e-12)
    assert found["purity"] == 7 / 8


@pytest.mark.parametrize(
    ("rows", "classes", "clusters"),
    [(100, 5, 7), (1000, 20, 50), (500, 1, 3), (500, 3, 1), (30, 30, 30), (40, 1, 1), (1, 1, 1)],
)
def test_is_that_of_scikit_learn(rows, classes, clusters):
    generator = torch.Generator().manual_seed(rows)
    labels = torch.randint(classes, (rows,), generator=generator)
    groups = torch.randint(clusters, (rows,), generator=generator) * 3
    groups = torch.where(torch.rand(rows, generator=generator) < 0.5, labels * 3, groups)
    groups = groups if clusters > 1 else torch.zeros_like(groups)
    geometric = metrics.normalized_mutual_info_score(labels, groups, average_method="geometric")
    table = metrics.cluster.contingency_matrix(labels, groups)
    expected = {
        "nmi": metrics.normalized_mutual_info_score(labels, groups),
        "nmi_geometric": geometric,
        "ami": metrics.adjusted_mutual_info_score(labels, groups),
        "ari": metrics.adjusted_rand_score(labels, groups),
        "purity": table.max(axis=0).sum() / rows,
    }
    assert agreement(labels, groups) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_random_clusters_agree_by_chance_alone():
    labels, clusters = torch.randint(50, (2, 20_000))
    found = agreement(labels, clusters)
    assert abs(found["ami"]) < 2e-3
    assert abs(found["ari"]) < 2e-3
    assert found["nmi"] > 0.01


def test_a_large_class_costs_no_memory_in_its_square():
    labels = torch.arange(300_000).clamp(min=150_000) - 150_000  # one class of half of the rows
    labels %= 2000
    clusters = torch.arange(300_000) % 700
    assert 0 <= agreement(labels, clusters)["nmi"] <= 1


def test_refuses_no_rows():
    with pytest.raises(ValueError, match="at least one row, got none"):
        agreement(torch.tensor([], dtype=torch.long), torch.tensor([], dtype=torch.long))
