import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from ssl_dml.evaluation.label_errors import fitted, label_errors, voted
from ssl_dml.tables import EmbeddingTable


def blobs(rows=600, classes=4, spread=1.0, wrong=60):
    generator = torch.Generator().manual_seed(0)
    true = torch.arange(rows) % classes
    centers = 3 * torch.randn(classes, 8, generator=generator)
    x = centers[true] + spread * torch.randn(rows, 8, generator=generator)
    given = true.clone()
    given[:wrong] = (true[:wrong] + 1) % classes
    return x, given, torch.arange(rows) < wrong


def test_wrong_labels_are_the_least_supported():
    x, given, wrong = blobs()
    found = label_errors(EmbeddingTable(embeddings=x, labels=given))
    assert average_precision_score(wrong.numpy(), -found.support.numpy()) > 0.95
    assert found.denied[wrong].double().mean() > 0.9
    assert found.denied[~wrong].double().mean() < 0.03
    right = (found.better[:60] == torch.arange(60) % 4).double().mean()
    assert right > 0.9


def test_labels_may_be_any_numbers():
    x, given, _ = blobs()
    found = label_errors(EmbeddingTable(embeddings=x, labels=given * 100 + 7))
    assert set(found.better.tolist()) <= {7, 107, 207, 307}


def test_the_probe_is_that_of_scikit_learn():
    x, labels, _ = blobs(wrong=0, spread=3.0)
    padded = torch.nn.functional.pad(x, (0, 1), value=1.0)
    ours = padded @ fitted(padded, labels, 4, decay=1e-3)
    model = LogisticRegression(C=1 / (2 * 1e-3 * len(x)), fit_intercept=False, max_iter=500)
    theirs = model.fit(padded.numpy(), labels.numpy()).predict_log_proba(padded.numpy())
    assert np.abs(ours.softmax(1).numpy() - np.exp(theirs)).max() < 0.01


def test_votes_are_weighted_by_similarity():
    cosines, labels = torch.tensor([[0.9, 0.8, 0.1]]), torch.tensor([[1, 0, 0]])
    votes = voted(cosines, labels, 2).exp()[0]
    weights = [np.exp(-1) + np.exp(-8) + 0.5, 1.5]
    assert votes.tolist() == pytest.approx([w / sum(weights) for w in weights], rel=1e-5)
