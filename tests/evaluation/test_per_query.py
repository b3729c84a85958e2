"""Means over queries are those of kNN and retrieval; verification is that of scikit-learn."""

import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from ssl_dml.evaluation import knn, per_query, retrieval
from ssl_dml.evaluation.per_query import knn_values, retrieval_values, verification_values
from ssl_dml.tables import EmbeddingTable


def table(count, classes):
    labels = torch.arange(count) % classes
    rows = torch.randn(count, 6) + 1.5 * torch.nn.functional.one_hot(labels, 6)
    return EmbeddingTable(embeddings=rows, labels=labels)


def test_knn():
    gallery, query = table(60, 5), table(40, 5)
    found = knn_values(gallery, query, ks=[1, 9], temperatures=[0.1])
    expected = knn(gallery, query, ks=[1, 9], temperatures=[0.1])
    assert {*found} == {*expected} - {"knn_top1", "knn_top1_low", "knn_top1_high"}
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


def test_verification_is_that_of_sklearn_for_each_sample():
    rows = table(80, 4)
    rows.embeddings[5] = rows.embeddings[6]  # equal cosines
    rows.labels[7] = 9  # alone
    found = verification_values(rows, fars=[0.1, 0.01])
    unit = torch.nn.functional.normalize(rows.embeddings, dim=1)
    for i in range(80):
        others = torch.arange(80) != i
        same, cosines = rows.labels[others] == rows.labels[i], (unit[others] @ unit[i]).numpy()
        assert found["tar_at_far_0.01"][i].isnan()  # of fewer than 100 impostors
        if i == 7:
            assert found["auc"][i].isnan()
            continue
        assert found["auc"][i] == pytest.approx(roc_auc_score(same, cosines), abs=1e-6)
        far, tar, _ = roc_curve(same, cosines, drop_intermediate=False)
        assert found["tar_at_far_0.1"][i] == pytest.approx(tar[far <= 0.1].max(), abs=1e-6)


def test_verification_takes_some_of_many(monkeypatch):
    rows = table(60, 5)
    whole = verification_values(rows)["auc"]
    monkeypatch.setattr(per_query, "QUERIES", 20)
    some = verification_values(rows)["auc"]
    assert int(some.isfinite().sum()) == 20
    assert torch.equal(some[some.isfinite()], whole[some.isfinite()])
