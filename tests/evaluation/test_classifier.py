import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from ssl_dml.evaluation.classifier import classifier
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError


def test_is_the_accuracy_of_scikit_learn():
    rows, labels = torch.randn(300, 8), torch.arange(300) % 8
    rows[torch.arange(300), labels] += 1.5
    table = EmbeddingTable(embeddings=rows, labels=labels)
    found = classifier(table)
    for k in (1, 5):
        name, expected = f"classifier_top{k}", top_k_accuracy_score(labels, rows.numpy(), k=k)
        assert found[name] == pytest.approx(expected)
        assert found[f"{name}_low"] < expected < found[f"{name}_high"]
    other = EmbeddingTable(embeddings=torch.eye(8), labels=torch.arange(8))
    assert classifier(table, other)["classifier_top1"] == 1


def test_refuses_classes_without_a_value():
    table = EmbeddingTable(embeddings=torch.eye(3), labels=torch.tensor([0, 1, 3]))
    with pytest.raises(ConfigError, match="embeddings have 3 for 4 classes: fine-tune with head"):
        classifier(table)
