import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from ssl_dml.evaluation import density
from ssl_dml.evaluation.density import density_clusters


def drawn(rows, clusters, *, dim=16, spread=0.3):
    centers, labels = torch.randn(clusters, dim), torch.randint(clusters, (rows,))
    return centers[labels] + spread * torch.randn(rows, dim), labels


@pytest.mark.parametrize("clusters", [1, 3, 40])
def test_finds_how_many_clusters_there_are(clusters):
    rows, labels = drawn(2000, clusters)
    found = density_clusters(rows)
    assert int(found.max()) + 1 == clusters
    assert adjusted_rand_score(labels, found) == 1


def test_follows_the_rule_step_by_step():
    """Against the rule as the docstring has it, in Python, without an index."""
    rows, _ = drawn(150, 6, dim=3)
    unit = torch.nn.functional.normalize(rows, dim=1).double().numpy()
    apart, near = NearestNeighbors(n_neighbors=6).fit(unit).kneighbors()  # never itself
    radius = apart.mean(axis=1)
    peak = list(range(150))
    for row in np.argsort(radius):
        denser = [other for other in near[row] if radius[other] < radius[row]]
        peak[row] = peak[denser[0]] if denser else row
    meetings = sorted(
        (max(radius[row], radius[other]), row, other) for row in range(150) for other in near[row]
    )
    for at, row, other in meetings:
        high, low = sorted((peak[row], peak[other]), key=lambda one: radius[one])
        if high != low and at <= 1.1 * radius[low]:
            peak = [high if one == low else one for one in peak]
    found = density_clusters(rows, neighbors=6, prominence=0.1)
    assert adjusted_rand_score(peak, found) == 1
    assert 1 < len(set(peak)) < 150


def test_more_prominence_joins_more():
    rows = torch.randn(500, 8)
    counts = [int(density_clusters(rows, prominence=p).max()) + 1 for p in (0.0, 0.2, 9.0)]
    assert counts[0] > counts[1] > counts[2] >= 1


def test_an_inverted_file_finds_the_same_clusters(monkeypatch):
    rows, labels = drawn(3000, 12)
    monkeypatch.setattr(density, "EXACT", 1000)
    monkeypatch.setattr(density, "CHUNK", 700)
    assert adjusted_rand_score(labels, density_clusters(rows)) > 0.99


def test_copies_stay_together_and_length_does_not_matter():
    rows, _ = drawn(200, 4)
    rows[:20] = rows[0]
    found = density_clusters(rows)
    assert len(found[:20].unique()) == 1
    assert torch.equal(found, density_clusters(rows * torch.rand(200, 1).add(0.5).exp2().round()))
