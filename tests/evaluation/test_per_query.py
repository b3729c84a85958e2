"""Means over queries are those of kNN and retrieval."""

import pytest
import torch

from ssl_dml.evaluation import knn, retrieval
from ssl_dml.evaluation.per_query import knn_values, retrieval_values
from ssl_dml.tables import EmbeddingTable


def table(count, classes):
    labels = torch.arange(count) % classes
    rows = torch.randn(count, 6) + 1.5 * torch.nn.functional.one_hot(labels, 6)
    return EmbeddingTable(embeddings=rows, labels=labels)


def test_knn():
    gallery, query = table(60, 5), table(40, 5)
    found = knn_values(gallery, query, ks=[1, 9], temperatures=[0.1])
    expected = knn(gallery, query, ks=[1, 9], temperatures=[0.1])
    assert {*found} == {*expected} - {"knn_top1"}
    for name, values in found.items():
        assert len(values) == 40
        assert values.mean().item() == pytest.approx(expected[name], abs=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_retrieval(metric):
    rows = table(50, 5)
    rows.labels[7] = 9  # alone
    found = retrieval_values(rows, ks=[1, 4], metric=metric)
    expected = retrieval(rows, ks=[1, 4], metric=metric)
    assert {*found} == {"recall_at_1", "recall_at_4", "map_at_r", "r_precision"}
    for name, values in found.items():
        assert values.isnan().nonzero().tolist() == [[7]]
        assert values.nanmean().item() == pytest.approx(expected[name], abs=1e-12)
