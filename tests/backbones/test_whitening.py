import numpy as np
import pytest
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
