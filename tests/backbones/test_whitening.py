import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.decomposition import PCA
from torch.testing import assert_close

from ssl_dml.backbones import TimmBackbone, load, save
from ssl_dml.backbones.whitening import whitened, whitening

TIMM = "ssl_dml.backbones.TimmBackbone"
SMALL = {"name": "resnet18", "width": 0.125}


def correlated(rows=200, dim=9):
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(dim, dim, generator=generator)
    return torch.randn(rows, dim, generator=generator) @ mix + 5.0


@pytest.mark.parametrize("dims", [1, 4, 9, 30])
def test_it_is_that_of_scikit_learn_up_to_signs(dims):
    features = correlated()
    weight, bias = whitening(features, dims)
    pca = PCA(min(dims, 9), whiten=True).fit(features.double().numpy())
    expected = pca.transform(features.double().numpy()) * np.sqrt(200 / 199)  # it divides by n - 1
    assert_close(
        (features @ weight.T + bias).abs(),
        torch.tensor(expected).abs().float(),
        atol=1e-3,
        rtol=1e-3,
    )


def test_directions_without_variance_are_left_out():
    features = correlated(dim=3) @ torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    assert whitening(features, 8)[0].shape == (3, 8)
    with pytest.raises(ValueError, match="features of all training samples are the same"):
        whitening(torch.ones(5, 3), 2)
    with pytest.raises(ValueError, match="whiten must be"):
        whitening(features, 0)


def test_a_whitened_network_is_saved_and_loaded(color, tmp_path):
    network = TimmBackbone(color, **SMALL).eval()
    weight, bias = whitening(correlated(dim=64), 10)
    embedder, about = whitened(network, TIMM, SMALL, weight, bias)
    save(embedder, tmp_path / "model", "ssl_dml.backbones.Embedder", about, trained={})
    images = torch.randn(3, 3, *color.sides)
    with torch.no_grad():
        expected = network(images) @ weight.T + bias
        assert_close(embedder(images), expected, atol=1e-4, rtol=1e-4)
        assert_close(load(tmp_path / "model")(images), expected, atol=1e-4, rtol=1e-4)


def test_views_give_the_generalized_eigenvectors():
    features, views = correlated(), correlated(rows=100).reshape(50, 2, 9)
    weight, bias = whitening(features, 4, views)
    covariance = np.cov(features.double().T.numpy(), bias=True)
    apart = (views[:, 0] - views[:, 1]).double().numpy()
    unit = apart.T @ apart / 100 + 0.03 * covariance
    directions = scipy.linalg.eigh(covariance, unit, subset_by_index=[5, 8])[1][:, ::-1].T
    signs = np.sign((directions * weight.double().numpy()).sum(1, keepdims=True))
    assert_close(weight, torch.from_numpy(directions * signs).float(), atol=1e-4, rtol=1e-3)
    assert_close(features.mean(0) @ weight.T + bias, torch.zeros(4), atol=1e-3, rtol=0)


def test_what_differs_between_views_counts_for_nothing():
    """Loud noise in one direction, which views show, and what tells samples apart in another."""
    torch.manual_seed(0)
    samples = torch.randn(300, 2) * torch.tensor([10.0, 1.0])
    views = samples[:, None].repeat(1, 2, 1)
    views[:, :, 0] += 10 * torch.randn(300, 2)
    weight = whitening(samples, 1, views)[0]
    assert weight[0, 1] > 20 * weight[0, 0].abs()
    assert whitening(samples, 1)[0][0].abs().argmax() == 0  # without views noise is most of it
