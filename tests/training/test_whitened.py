import numpy as np
import torch
from torch.testing import assert_close

from ssl_dml.augment import Gray
from ssl_dml.backbones import LogMelBackbone, TimmBackbone, load, save
from ssl_dml.backbones.whitening import whitened, whitening
from ssl_dml.data import DataConfig, load_train
from ssl_dml.evaluation.embed import embed, encoder
from ssl_dml.training import Model, Whitened
from ssl_dml.types import SequenceSpec

SMALL = {"name": "resnet18", "width": 0.125}
CPU = torch.device("cpu")


def opened(folder, count=60):
    rng = np.random.default_rng(0)
    for name in range(count):
        np.save(folder / f"{name:03}.npy", rng.integers(0, 255, (12, 12), dtype=np.uint8))
    train = load_train(DataConfig(source=str(folder)))
    network = TimmBackbone(train.spec, **SMALL).train()
    return train, network, Model(network, "ssl_dml.backbones.TimmBackbone", SMALL)


def test_features_of_training_samples_are_white_and_those_of_what_is_saved(tmp_path):
    (tmp_path / "data").mkdir()
    train, network, model = opened(tmp_path / "data")
    found = Whitened(7, model, train, CPU)()
    assert network.training
    save(found.network, tmp_path / "model", found.class_path, found.init_args, trained={})
    rows = torch.arange(len(train))
    for one in (found.network.eval(), load(tmp_path / "model")):
        features = embed(encoder(one, CPU), train, rows, device=CPU).double()
        assert_close(features.mean(0), torch.zeros(7).double(), atol=1e-3, rtol=0)
        covariance = torch.cov(features.T, correction=0)
        assert_close(covariance, torch.eye(7).double(), atol=1e-2, rtol=0)


def test_views_are_those_of_the_run_and_the_same_each_time(tmp_path):
    train, _, model = opened(tmp_path, count=30)
    augment = Gray(train.spec)
    first, second, samples = (
        Whitened(5, model, train, CPU, views=views)().network.state_dict()["neck.0.weight"]
        for views in (augment, augment, None)
    )
    assert_close(first, second)
    assert (first - samples).abs().max() > 1e-2


def test_without_dimensions_it_is_the_network_itself(tmp_path):
    train, network, model = opened(tmp_path, count=3)
    assert Whitened(None, model, train, CPU)().network is network


def test_a_network_without_weights_can_end_in_a_whitening():
    rng = np.random.default_rng(0)
    spec = SequenceSpec(channels=1, length=400, mean=(0.0,), std=(1.0,), sampling_rate=8000)
    features = torch.from_numpy(rng.normal(size=(90, 80)).astype(np.float32))
    network = LogMelBackbone(spec, parts=1)
    embedder, about = whitened(
        network, "ssl_dml.backbones.LogMelBackbone", {"parts": 1}, *whitening(features, 5)
    )
    assert about["dim"] == 5
    assert embedder(torch.randn(2, 1, 400)).shape == (2, 5)
