import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from ssl_dml.evaluation import map as maps
from ssl_dml.evaluation.map import clusters, neighbor_map, pca
from ssl_dml.types import ConfigError


def blobs(each=30, dim=8):
    generator = torch.Generator().manual_seed(0)
    centers = 6 * torch.eye(dim)[:3]
    rows = torch.cat([c + torch.randn(each, dim, generator=generator) for c in centers])
    return rows, torch.arange(3).repeat_interleave(each)


def test_principal_components_are_those_of_scikit_learn():
    rows = blobs()[0].double()
    points, share = pca(rows, 3)
    theirs = PCA(3, svd_solver="full").fit(rows.numpy())
    expected = theirs.transform(rows.numpy())
    signs = np.sign((expected * points.numpy()).sum(0))
    np.testing.assert_allclose(points.numpy(), expected * signs, atol=1e-5)
    np.testing.assert_allclose(share.numpy(), theirs.explained_variance_ratio_, rtol=1e-5)


def test_one_dimension_and_equal_rows_have_a_plane_too():
    points, share = pca(torch.arange(4.0)[:, None])
    assert points.shape == (4, 2)
    assert points[:, 1].eq(0).all()
    points, share = pca(torch.ones(4, 3))
    assert points.eq(0).all()
    assert share.eq(0).all()


def test_clusters_are_those_of_scikit_learn():
    rows, _labels = blobs()
    found = clusters(rows, 3, seed=0)
    unit = torch.nn.functional.normalize(rows, dim=1).numpy()
    theirs = KMeans(3, n_init=5, random_state=0).fit_predict(unit)
    assert adjusted_rand_score(theirs, found.numpy()) > 0.95
    assert found.bincount().tolist() == sorted(found.bincount().tolist(), reverse=True)
    assert torch.equal(found, clusters(rows, 3, seed=0))
    assert clusters(rows[:2], 5).tolist() in ([0, 1], [1, 0])


def test_a_map_keeps_neighbors_together(monkeypatch):
    rows, labels = blobs(12)
    monkeypatch.setattr(maps, "find_spec", lambda name: name == "sklearn" or None)
    name, points = neighbor_map(rows, seed=0)
    assert name == "t-SNE"
    far = torch.cdist(points, points).fill_diagonal_(torch.inf)
    assert (labels[far.argmin(dim=1)] == labels).float().mean() > 0.95
    assert torch.equal(points, neighbor_map(rows, seed=0)[1])


@pytest.mark.slow  # numba compiles for ten seconds
def test_umap_keeps_neighbors_together():
    pytest.importorskip("umap")
    rows, labels = blobs()
    name, points = neighbor_map(rows, seed=0)
    assert name == "UMAP"
    far = torch.cdist(points, points).fill_diagonal_(torch.inf)
    assert (labels[far.argmin(dim=1)] == labels).float().mean() > 0.95


def test_what_lacks_is_said(monkeypatch):
    with pytest.raises(ConfigError, match="needs 10 samples, got 9"):
        neighbor_map(torch.eye(9))
    monkeypatch.setattr(maps, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'ssl_dml\[report\]'"):
        neighbor_map(torch.eye(12))
