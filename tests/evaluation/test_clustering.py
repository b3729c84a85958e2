import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_mutual_info_score

from ssl_dml.evaluation.clustering import clustering, kmeans
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return EmbeddingTable(embeddings=torch.tensor(x).float(), labels=torch.tensor(y))


def test_is_as_good_as_the_k_means_of_scikit_learn(digits):
    rows = torch.nn.functional.normalize(digits.embeddings, dim=1)
    own = KMeans(10, n_init=5, random_state=0).fit_predict(rows)
    found = clustering(digits)
    assert found["kmeans_ami"] == pytest.approx(adjusted_mutual_info_score(digits.labels, own),
                                                abs=0.05)  # fmt: skip
    assert found["kmeans_ami_low"] < found["kmeans_ami"] < found["kmeans_ami_high"]
    assert found["density_ami"] > 0.8
    assert 8 <= found["density_clusters"] <= 30
    assert found == clustering(digits)


def test_a_seed_is_a_start(digits):
    one, two = (kmeans(digits.embeddings, 10, seed=seed) for seed in (0, 1))
    assert torch.equal(one, kmeans(digits.embeddings, 10, seed=0))
    assert not torch.equal(one, two)
    assert len(one.unique()) == 10


def test_length_does_not_matter(digits):
    scale = 2.0 ** torch.arange(len(digits.labels)).remainder(5)[:, None]
    found = kmeans(digits.embeddings * scale, 10)
    assert torch.equal(found, kmeans(digits.embeddings, 10))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seeds": 1}, r"clustering\.seeds must be at least 2, got 1"),
        ({"clusters": 0}, r"clustering\.clusters must be from 1 to 4, as there are 4 rows, got 0"),
        ({"neighbors": 4}, r"clustering\.neighbors must be from 1 to 3, as there are 4 rows"),
        ({"prominence": -0.1}, r"clustering\.prominence must be at least 0, got -0\.1"),
        ({"iterations": 0}, r"clustering\.iterations must be at least 1, got 0"),
        ({"seed": -1}, r"clustering\.seed must be from 0"),
    ],
)
def test_refuses_options_out_of_range(options, words):
    table = EmbeddingTable(embeddings=torch.eye(4), labels=torch.tensor([0, 0, 1, 1]))
    with pytest.raises(ConfigError, match=words):
        clustering(table, **{"neighbors": 1, **options})


def test_refuses_a_query():
    table = EmbeddingTable(embeddings=torch.eye(4), labels=torch.tensor([0, 0, 1, 1]))
    with pytest.raises(ConfigError, match="leave --query out"):
        clustering(table, table)
