import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_dml.evaluation import linear_probe
from ssl_dml.tables import EmbeddingTable


def table(rows, labels):
    return EmbeddingTable(
        embeddings=torch.as_tensor(rows, dtype=torch.float32), labels=torch.as_tensor(labels)
    )


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return table(x[:1300], y[:1300]), table(x[1300:], y[1300:])


def test_is_as_good_as_logistic_regression(digits):
    gallery, query = digits
    scaler = StandardScaler().fit(gallery.embeddings)
    oracle = LogisticRegression(C=1.0, max_iter=1000)
    oracle.fit(scaler.transform(gallery.embeddings), gallery.labels)
    expected = oracle.score(scaler.transform(query.embeddings), query.labels)
    found = linear_probe(gallery, query)
    assert found["linear_top1"] > expected - 0.02
    assert found["linear_holdout_top1"] > 0.9


def test_the_choice_does_not_look_at_the_query(digits):
    gallery, query = digits
    nonsense = table(query.embeddings, query.labels.flip(0))
    first, second = (linear_probe(gallery, q, epochs=3) for q in (query, nonsense))
    assert first["linear_lr"] == second["linear_lr"]
    assert first["linear_holdout_top1"] == second["linear_holdout_top1"]
    assert first["linear_top1"] > second["linear_top1"] + 0.3


def test_a_grid_trains_each_pair_as_if_alone(digits):
    gallery, query = digits
    pair = linear_probe(gallery, query, learning_rates=(0.3,), weight_decays=(1e-3,), epochs=3)
    grid = linear_probe(gallery, query, learning_rates=(1e-6, 0.3), weight_decays=(1e-3,), epochs=3)
    assert grid["linear_lr"] == pytest.approx(0.3)
    assert grid["linear_holdout_top1"] == pair["linear_holdout_top1"]
    assert grid["linear_top1"] == pair["linear_top1"]


def test_is_the_gradient_of_cross_entropy():
    """One step from zero weights, against autograd."""
    from ssl_dml.evaluation.linear_probe import _train

    x, labels = torch.cat([torch.randn(8, 3), torch.ones(8, 1)], dim=1), torch.arange(8) % 4
    options = {"classes": 4, "epochs": 1, "batch_size": 8, "seed": 0}
    weights = _train(x, labels, torch.arange(8), torch.tensor([[0.5, 0.0]]), **options)
    w = torch.zeros(4, 4, requires_grad=True)
    logits = x @ w
    torch.nn.functional.cross_entropy(logits, labels).backward()
    torch.testing.assert_close(weights[0], -0.5 * 8 / 256 * w.grad)


def test_refuses_one_class_and_too_few_rows():
    with pytest.raises(ValueError, match="needs at least 2 classes"):
        linear_probe(table(torch.eye(3), [1, 1, 1]), table(torch.eye(3), [1, 1, 1]))
    with pytest.raises(ValueError, match="enough rows to hold 10% of them out, got 3"):
        linear_probe(table(torch.eye(3), [0, 1, 1]), table(torch.eye(3), [0, 1, 1]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"learning_rates": [0.1, 0.0]}, r"learning_rates must be positive, got 0\.0"),
        ({"weight_decays": [-0.1]}, r"weight_decays must be at least 0, got -0\.1"),
        ({"holdout": 1.0}, "enough rows to hold 100% of them out"),
    ],
)
def test_refuses_options_out_of_range(digits, options, words):
    with pytest.raises(ValueError, match=words):
        linear_probe(*digits, **options)
