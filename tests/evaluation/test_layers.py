import pytest
import torch

from ssl_dml.evaluation import knn, retrieval
from ssl_dml.evaluation.layers import layers, shown_layers
from ssl_dml.tables import EmbeddingTable


def test_each_is_measured_as_if_alone():
    dims, labels = {"mean": 4, "layer:0": 7}, torch.arange(90) % 3
    rows = torch.randn(90, 11)
    rows[:, 4:7] += 3 * torch.eye(3)[labels]
    whole = EmbeddingTable(embeddings=rows, labels=labels)
    gallery, query = whole.at(torch.arange(60)), whole.at(torch.arange(60, 90))
    found = layers(gallery, query, dims=dims, k=5, temperature=0.1)
    for name, columns in (("mean", slice(0, 4)), ("layer:0", slice(4, 11))):
        one, two = (EmbeddingTable(embeddings=table.embeddings[:, columns], labels=table.labels)
                    for table in (gallery, query))  # fmt: skip
        expected = knn(one, two, ks=[5], temperatures=[0.1])["knn_top1"]
        assert found[f"{name}_knn_top1"] == pytest.approx(expected)
        assert found[f"{name}_knn_top1_low"] <= expected <= found[f"{name}_knn_top1_high"]
        alone = retrieval(one, two, ks=[1])
        for key in ("recall_at_1", "map_at_r"):
            assert found[f"{name}_{key}"] == alone[key]
    lines = shown_layers(found).splitlines()
    assert [line.split()[0] for line in lines] == ["pooling", "mean", "layer:0"]
    assert lines[2].count("*") == 3
    assert "*" not in lines[1]
