"""Nearest neighbors and how many of them stay."""

import torch
from sklearn.neighbors import NearestNeighbors

from ssl_dml.evaluation.drift import nearest_neighbors, neighbor_overlap


def test_neighbors_are_those_of_sklearn():
    features = torch.randn(60, 5)
    found = nearest_neighbors(features)
    search = NearestNeighbors(n_neighbors=10, metric="cosine").fit(features.numpy())
    expected = search.kneighbors(return_distance=False)
    assert [set(row) for row in found.tolist()] == [set(row) for row in expected.tolist()]


def test_at_most_2000_rows_are_compared():
    assert nearest_neighbors(torch.randn(2300, 2)).shape == (2000, 10)


def test_the_overlap_is_that_of_sets():
    first, second = (nearest_neighbors(torch.randn(40, 3)) for _ in range(2))
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    expected = sum(len({*a} & {*b}) for a, b in pairs) / first.numel()
    assert abs(neighbor_overlap(first, second) - expected) < 1e-12
    assert neighbor_overlap(first, first.flip(1)) == 1.0


def test_rotated_and_scaled_features_have_the_same_neighbors():
    features = torch.randn(50, 4)
    turned = 3 * features @ torch.linalg.qr(torch.randn(4, 4)).Q
    assert neighbor_overlap(nearest_neighbors(features), nearest_neighbors(turned)) > 0.99
