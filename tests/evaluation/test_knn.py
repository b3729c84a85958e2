import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from ssl_dml.evaluation import knn
from ssl_dml.tables import EmbeddingTable


def table(rows, labels):
    return EmbeddingTable(embeddings=torch.as_tensor(rows), labels=torch.as_tensor(labels))


@pytest.fixture
def tables():
    centers = torch.randn(5, 8)
    labels = torch.arange(300) % 5
    rows = centers[labels] + 1.5 * torch.randn(300, 8)
    return table(rows[:250], labels[:250]), table(rows[250:], labels[250:])


@pytest.mark.parametrize("temperature", [0.07, 0.1])
@pytest.mark.parametrize("k", [1, 10, 20, 100, 200])
def test_matches_scikit_learn(tables, k, temperature):
    gallery, query = tables
    unit = [t.embeddings / t.embeddings.norm(dim=1, keepdim=True) for t in tables]

    def weights(distances):  # squared distance of unit rows is 2 - 2 cos
        return np.exp((1 - distances**2 / 2) / temperature)

    oracle = KNeighborsClassifier(k, weights=weights, algorithm="brute")
    oracle.fit(unit[0].numpy(), gallery.labels.numpy())
    expected = oracle.score(unit[1].numpy(), query.labels.numpy())
    found = knn(gallery, query, ks=(k,), temperatures=(temperature,))
    assert found[f"knn_top1_k{k}_t{temperature}"] == pytest.approx(expected)


def test_one_pass_gives_every_pair_and_the_first_one_its_short_name(tables):
    found = knn(*tables, ks=(20, 1, 200), temperatures=(0.07, 0.1))
    assert len(found) == 9
    assert found["knn_top1"] == found["knn_top1_k20_t0.07"]


def test_a_near_neighbor_outweighs_two_far_ones():
    gallery = table([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]], [0, 1, 1])
    query = table([[1.0, 0.01]], [0])
    assert knn(gallery, query, ks=(3,))["knn_top1"] == 1.0
    assert knn(gallery, query, ks=(3,), temperatures=(100.0,))["knn_top1"] == 0.0


def test_tiny_temperatures_and_zero_rows_stay_finite():
    gallery = table(torch.eye(3), [0, 1, 2])
    query = table([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0, 1])
    assert knn(gallery, query, ks=(2,), temperatures=(1e-4,))["knn_top1"] in {0.5, 1.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ks": (251,)}, "ks must be from 1 to 250, the rows to search; got \\[251\\]"),
        ({"ks": (0,)}, r"got \[0\]"),
        ({"temperatures": (0.0,)}, r"temperatures must be positive, got 0\.0"),
    ],
)
def test_refuses_settings_that_cannot_be(tables, options, words):
    with pytest.raises(ValueError, match=words):
        knn(*tables, **options)


def test_refuses_one_class():
    one = table(torch.eye(3), [4, 4, 4])
    with pytest.raises(ValueError, match="needs at least 2 classes"):
        knn(one, one, ks=(1,))
