import numpy as np
import pytest
import torch

from ssl_dml.distances import Mahalanobis
from ssl_dml.evaluation.scoring import Scoring


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean", "squared", "mahalanobis"])
def test_scores_of_all_and_of_pairs_are_the_definition(metric):
    one, two = 5 + torch.randn(30, 4), torch.randn(20, 4)
    a, b = one.double().numpy()[:, None], two.double().numpy()
    matrix = np.diag([1.0, 2.0, 3.0, 4.0])
    lengths = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=1)
    expected = {
        "cosine": (a * b).sum(axis=2) / lengths,
        "dot": (a * b).sum(axis=2),
        "euclidean": -np.linalg.norm(a - b, axis=2),
        "squared": -np.linalg.norm(a - b, axis=2),  # the same order
        "mahalanobis": -np.sqrt(np.einsum("abi,ij,abj->ab", a - b, matrix, a - b)),
    }[metric]
    given = Mahalanobis(kind="given", matrix=matrix.tolist()) if len(metric) > 9 else metric
    scoring = Scoring([one, two], given)
    found = scoring.all(scoring.rows(one), scoring.rows(two))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert scoring.low <= found.min() <= found.max() <= scoring.high
    pairs = scoring.pairs(scoring.rows(one[:20]), scoring.rows(two))
    np.testing.assert_allclose(pairs, expected.diagonal(), rtol=1e-4, atol=1e-4)
