import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_dml.evaluation import knn
from ssl_dml.evaluation.logistic import _Problem, few_labels, logistic
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    table = EmbeddingTable(embeddings=torch.tensor(x).float(), labels=torch.tensor(y))
    return table.at(torch.arange(1300)), table.at(torch.arange(1300, len(y)))


@pytest.fixture(scope="module")
def standardized(digits):
    scaler = StandardScaler().fit(digits[0].embeddings)
    return [scaler.transform(table.embeddings) for table in digits]


@pytest.mark.parametrize("l2", [0.1, 0.01])
def test_weights_are_those_of_scikit_learn(digits, standardized, l2):
    gallery, query = digits
    oracle = LogisticRegression(C=1 / (l2 * 1300), max_iter=5000, tol=1e-8)
    oracle.fit(standardized[0], gallery.labels)
    problem = _Problem.of(gallery, query)
    (weights,) = problem.path(gallery, torch.arange(1300), [l2], 1000)
    np.testing.assert_allclose(weights[:-1].T, oracle.coef_, atol=2e-3)
    expected = oracle.score(standardized[1], query.labels)
    found = logistic(gallery, query, l2s=[l2])
    assert found["logistic_top1"] == pytest.approx(expected, abs=0.003)
    assert found["logistic_top1_low"] < expected < found["logistic_top1_high"]
    assert "logistic_holdout_top1" not in found


def test_the_gradient_is_that_of_autograd():
    table = EmbeddingTable(embeddings=torch.randn(9, 3), labels=torch.arange(9) % 4)
    problem, flat = _Problem.of(table, table), np.random.default_rng(0).normal(size=16)
    value, gradient = problem._loss(flat, table, torch.arange(9), 0.3, (4, 4))
    w = torch.tensor(flat).float().view(4, 4).requires_grad_()
    logits = problem.features(table, torch.arange(9)) @ w[:3] + w[3]
    loss = torch.nn.functional.cross_entropy(logits, table.labels) + 0.15 * w[:3].square().sum()
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, w.grad.flatten(), atol=1e-5)


def test_l2_is_chosen_on_held_out_rows_of_the_gallery(digits):
    gallery, query = digits
    nonsense = EmbeddingTable(embeddings=query.embeddings, labels=query.labels.flip(0))
    first, second = (logistic(gallery, one) for one in (query, nonsense))
    for name in ("logistic_l2", "logistic_holdout_top1"):
        assert first[name] == second[name]
    assert first["logistic_top1"] > 0.9 > second["logistic_top1"] + 0.3
    assert first["logistic_l2"] < 0.1
    noise = EmbeddingTable(embeddings=torch.randn(200, 60), labels=torch.randint(2, (200,)))
    strong = logistic(noise, noise, l2s=[100.0, 1e-6])
    assert strong["logistic_holdout_top1"] < 0.9


def test_few_labels_help_as_they_grow(digits):
    gallery, query = digits
    found = few_labels(gallery, query, per_class=[1, 10])
    for name in ("knn_top1", "logistic_top1"):
        low, high = (found[f"{name}_{n}_per_class"] for n in (1, 10))
        assert 0.4 < low < high - 0.1
        assert found[f"{name}_1_per_class_low"] < low < found[f"{name}_1_per_class_high"]
    assert found == few_labels(gallery, query, per_class=[1, 10])


def test_all_labels_are_the_plain_measures(digits):
    gallery, query = digits
    most = int(gallery.labels.bincount().max())
    found = few_labels(gallery, query, per_class=[most], draws=2)
    name = f"top1_{most}_per_class"
    assert found[f"knn_{name}"] == knn(gallery, query, ks=[20], temperatures=[0.07])["knn_top1"]
    plain = logistic(gallery, query, l2s=[0.01])["logistic_top1"]
    assert found[f"logistic_{name}"] == pytest.approx(plain, abs=0.003)
    assert found[f"knn_{name}_low"] == found[f"knn_{name}_high"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"l2s": []}, r"logistic\.l2s must have a value, got none"),
        ({"l2s": [0.1, 0.0]}, r"logistic\.l2s must be positive, got 0\.0"),
        ({"iterations": 0}, r"logistic\.iterations must be at least 1, got 0"),
        ({"holdout": 1.0}, r"logistic\.holdout must be above 0 and below 1, got 1\.0"),
        ({"holdout": 1e-4}, r"logistic\.holdout is 0\.0001, of 1300 rows none: raise it"),
    ],
)
def test_refuses_options_out_of_range(digits, options, words):
    with pytest.raises(ConfigError, match=words):
        logistic(*digits, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"per_class": [0]}, r"few_labels\.per_class must be from 1 to \d+, .* got 0"),
        ({"per_class": [999]}, r"the rows of the largest class, got 999"),
        ({"draws": 1}, r"few_labels\.draws must be at least 2, got 1"),
        ({"k": 0}, r"few_labels\.k must be at least 1, got 0"),
        ({"l2": 0.0}, r"few_labels\.l2 must be positive, got 0\.0"),
        ({"temperature": 0.0}, r"few_labels\.temperature must be positive, got 0\.0"),
    ],
)
def test_refuses_few_labels_out_of_range(digits, options, words):
    with pytest.raises(ConfigError, match=words):
        few_labels(*digits, **options)


def test_refuses_one_class():
    table = EmbeddingTable(embeddings=torch.eye(3), labels=torch.ones(3, dtype=torch.long))
    with pytest.raises(ValueError, match="at least 2 classes; the gallery has 1"):
        logistic(table, table)
