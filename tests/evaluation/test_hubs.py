import numpy as np
import torch
from scipy.stats import skew
from sklearn.neighbors import NearestNeighbors

from ssl_dml.evaluation.hubs import neighborhood


def test_neighbors_are_those_of_scikit_learn():
    rows = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    near = neighborhood(rows, 4)
    far, theirs = NearestNeighbors(n_neighbors=4, metric="cosine").fit(rows.numpy()).kneighbors()
    assert np.array_equal(near.rows.numpy(), theirs)
    np.testing.assert_allclose(near.cosines.numpy(), 1 - far, atol=1e-6)
    np.testing.assert_allclose(near.isolation.numpy(), far.mean(1), atol=1e-6)
    counts = np.bincount(theirs.ravel(), minlength=60)
    assert np.array_equal(near.occurrence.numpy(), counts)
    assert abs(near.skewness - skew(counts)) < 1e-9


def test_a_hub_is_everyones_neighbor_and_an_outlier_nobodys():
    angles = torch.tensor([-30.0, -20.0, 0.0, 20.0, 30.0, 170.0]).deg2rad()
    near = neighborhood(torch.stack([angles.cos(), angles.sin()], dim=1), 1)
    assert near.occurrence[5] == 0
    assert near.isolation.argmax() == 5


def test_copies_and_few_rows():
    near = neighborhood(torch.ones(3, 2), 10)
    assert near.rows.shape == (3, 2)
    assert near.isolation.abs().max() < 1e-6
    assert near.skewness == 0
    assert (near.rows != torch.arange(3)[:, None]).all()
