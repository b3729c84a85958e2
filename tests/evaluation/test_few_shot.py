import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from ssl_dml.evaluation.few_shot import classified, few_shot
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError

X = [[0.9, 0.1, 0.2], [0.8, -0.2, 0.3], [-0.1, 0.7, 0.4],
     [0.2, 0.9, -0.3], [0.1, -0.4, 0.8], [-0.3, 0.2, 0.6]]  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return EmbeddingTable(embeddings=torch.tensor(x).float(), labels=torch.tensor(y))


def test_value_computed_elsewhere():
    rows = torch.tensor(X, dtype=torch.float64)
    support, asked = rows[None, [0, 2, 4], None], rows[None, [1, 3, 5], None]
    prototypes, nearest = classified(support, asked)
    assert prototypes.double().mean().item() == pytest.approx(0.6666666666666666)
    assert torch.equal(prototypes, nearest)  # with one shot the prototype is the row


def test_is_the_nearest_centroid_and_the_nearest_neighbor_of_scikit_learn():
    support, asked = torch.randn(4, 3, 5, 6), torch.randn(4, 3, 7, 6)
    prototypes, nearest = classified(support, asked)
    labels, wanted = np.repeat(np.arange(3), 5), np.repeat(np.arange(3), 7)
    for i in range(4):
        given, rows = support[i].flatten(0, 1).numpy(), asked[i].flatten(0, 1).numpy()
        centroid = NearestCentroid().fit(given, labels).predict(rows) == wanted
        neighbor = KNeighborsClassifier(1).fit(given, labels).predict(rows) == wanted
        assert prototypes[i].flatten().tolist() == centroid.tolist()
        assert nearest[i].flatten().tolist() == neighbor.tolist()


def test_cosine_is_euclidean_on_unit_rows_and_ignores_length():
    support, asked = torch.randn(4, 3, 5, 6), torch.randn(4, 3, 7, 6)
    first = classified(support, asked, metric="cosine")
    second = classified(support * 3, asked * torch.rand(4, 3, 7, 1).add(0.1), metric="cosine")
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))
    unit = torch.nn.functional.normalize(support, dim=-1)
    assert torch.equal(first[1], classified(unit, torch.nn.functional.normalize(asked, dim=-1))[1])


def test_more_shots_help_and_an_interval_shrinks_with_the_episodes(digits):
    few, many = (few_shot(digits, episodes=n) for n in (50, 450))
    assert many["5way_5shot_prototypes"] > many["5way_1shot_prototypes"] > 0.5
    assert many["classes"] == 10
    width = [one["5way_5shot_nearest_high"] - one["5way_5shot_nearest_low"] for one in (few, many)]
    assert 2 < width[0] / width[1] < 4.5  # the root of 9
    assert few == few_shot(digits, episodes=50)
    assert few != few_shot(digits, episodes=50, seed=1)


def test_random_rows_are_classified_by_chance():
    table = EmbeddingTable(embeddings=torch.randn(400, 8), labels=torch.arange(400) % 20)
    found = few_shot(table, shots=[1, 3], queries=5, episodes=400)
    for name in ("1shot_prototypes", "3shot_prototypes", "3shot_nearest"):
        assert found[f"5way_{name}"] == pytest.approx(0.2, abs=0.02)


def test_a_query_is_never_among_the_labeled_rows():
    """Rows that are all far from each other: only itself would be nearest."""
    table = EmbeddingTable(embeddings=torch.eye(12), labels=torch.arange(12) // 4)
    found = few_shot(table, ways=3, shots=[2], queries=2, episodes=200, metric="euclidean")
    assert found["3way_2shot_nearest"] == pytest.approx(1 / 3, abs=0.1)  # the first of equals


def test_queries_of_another_table(digits):
    gallery = digits.at(torch.arange(0, 900))
    query = digits.at((digits.labels < 4).nonzero()[:, 0])
    assert few_shot(gallery, query, ways=4, shots=[5], episodes=20)["classes"] == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ways": 1}, r"few_shot\.ways must be at least 2, got 1"),
        ({"ways": 11}, r"few_shot\.ways is 11, and 10 classes have the 5 rows of few_shot\.shots"),
        ({"queries": 180}, "and 0 classes have the 5 rows"),
        ({"shots": []}, r"few_shot\.shots must be 1 or more, got \[\]"),
        ({"shots": [0]}, r"few_shot\.shots must be 1 or more, got \[0\]"),
        ({"episodes": 1}, r"few_shot\.episodes must be at least 2, got 1"),
    ],
)
def test_refuses_options_out_of_range(digits, options, words):
    with pytest.raises(ConfigError, match=words):
        few_shot(digits, **options)
