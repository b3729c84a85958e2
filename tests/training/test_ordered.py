import numpy as np
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.backbones import Embedder, load, save
from ssl_dml.backbones.saved import read_metadata
from ssl_dml.data import DataConfig, load_train
from ssl_dml.evaluation.embed import embed, encoder
from ssl_dml.training.ordered import order_run, some_of_each

CPU = torch.device("cpu")
ABOUT = {"class_path": "ssl_dml.backbones.TimmBackbone",
         "init_args": {"name": "resnet18", "width": 0.125},
         "neck": "linear_batch_norm", "dim": 8}  # fmt: skip


def test_both_models_of_a_run_are_turned_once(tmp_path):
    rng, labels = np.random.default_rng(0), torch.arange(60) % 5
    labels[:4] = -1
    (tmp_path / "data").mkdir()
    for name in range(60):
        image = 40 * (name % 5) + rng.integers(0, 60, (12, 12))
        np.save(tmp_path / f"data/{name:03}.npy", image.astype(np.uint8))
    train = load_train(DataConfig(source=str(tmp_path / "data")))
    networks = {}
    for name in ("backbone", "best"):
        torch.manual_seed(len(name))
        networks[name] = Embedder(train.spec, **ABOUT).eval()
        save(networks[name], tmp_path / name, "ssl_dml.backbones.Embedder", ABOUT, trained={"a": 1})
    found = order_run(networks["backbone"], tmp_path, train, labels, device=CPU)
    for name, network in networks.items():
        assert read_metadata(tmp_path / name)["trained"] == {"a": 1, "ordered": True}
        rows = torch.arange(60)
        before, after = (
            F.normalize(embed(encoder(one, CPU), train, rows, device=CPU), dim=1)
            for one in (network, load(tmp_path / name))
        )
        assert_close(after @ after.T, before @ before.T, atol=1e-4, rtol=0)
        means = torch.stack([after[labels == label].mean(dim=0) for label in range(5)])
        apart = means.var(dim=0)
        assert apart[:2].min() > apart[4:].max()  # five means are apart in four directions
    assert_close(found.state_dict(), load(tmp_path / "backbone").state_dict())
    again = order_run(found, tmp_path, train, labels, device=CPU)
    assert again is found


def test_each_class_has_as_many():
    labels = torch.tensor([0] * 30_000 + [1] * 3 + [-1] * 9 + [2] * 20_000)
    rows = some_of_each(labels)
    assert torch.bincount(labels[rows]).tolist() == [3333, 3, 3333]
    many = torch.arange(40_000).repeat_interleave(6)
    rows = some_of_each(many)
    counts = torch.bincount(many[rows], minlength=40_000)
    assert counts.unique().tolist() == [0, 4]
    assert len(rows) == 10_000
