"""A sketch is what the model gives, beside the model, and says no names to others."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import ssl_dml
from ssl_dml.backbones import TimmBackbone, save
from ssl_dml.data import DataConfig, load_train
from ssl_dml.evaluation.sketch import (
    SKETCH,
    publish_sketch,
    read_sketch,
    rounded,
    sketch_run,
    sketch_samples,
    write_sketch,
)
from ssl_dml.tables import EmbeddingTable, TableInfo
from ssl_dml.types import ConfigError

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


@pytest.fixture
def train(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(60):
        path = tmp_path / "images" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    return load_train(DataConfig(source=str(tmp_path / "images")))


def test_a_sketch_is_what_the_model_gives(train, tmp_path):
    network = TimmBackbone(train.spec, **RESNET)
    folder = tmp_path / "backbone"
    save(network, folder, "ssl_dml.backbones.TimmBackbone", RESNET, trained={})
    network.train()
    device, rows = torch.device("cpu"), torch.arange(20, 50)
    source = {"source": str(tmp_path / "images"), "of": "training samples"}
    sketch_samples(network, train, rows, folder, device=device, **source)
    assert network.training
    stored, model = read_sketch(folder), ssl_dml.load(folder)
    assert stored.info.weights["digest"] == model.digest
    assert stored.info.data == {**source, "fingerprint": train.fingerprint}
    table = stored.load()
    assert table.labels.tolist() == train.labels[rows].tolist()
    given = model.embed([tmp_path / "images" / name for name in table.names])
    assert table.names[0].startswith("a/")
    assert_close(table.embeddings, rounded(torch.from_numpy(given)), atol=1e-3, rtol=0)


def test_a_run_has_a_sketch_of_either_model(train, tmp_path):
    network, other = (TimmBackbone(train.spec, **RESNET) for _ in range(2))
    for name, model in (("backbone", network), ("best", other)):
        save(model, tmp_path / name, "ssl_dml.backbones.TimmBackbone", RESNET, trained={})
    told = {"source": str(tmp_path / "images"), "of": "training samples"}
    sketch_run(network, train, torch.arange(12), tmp_path, device=torch.device("cpu"), **told)
    first, second = (read_sketch(tmp_path / name) for name in ("backbone", "best"))
    assert first.info.weights["digest"] == ssl_dml.load(tmp_path / "backbone").digest
    assert second.info.weights["digest"] == ssl_dml.load(tmp_path / "best").digest
    assert first.load().names == second.load().names
    assert not torch.equal(first.load().embeddings, second.load().embeddings)


def test_most_rows_of_a_sketch_and_none_of_a_model_that_is_broken(train, tmp_path):
    table = EmbeddingTable(embeddings=torch.randn(2100, 2), labels=torch.arange(2100))
    write_sketch(tmp_path, table, TableInfo(rows=0, dim=2, class_names=list(map(str, range(2100)))))
    found = read_sketch(tmp_path).load()
    assert len({*found.labels.tolist()}) == 2048
    assert_close(found.embeddings, rounded(table.embeddings[found.labels]), rtol=0, atol=0)
    network = TimmBackbone(train.spec, **RESNET)
    torch.nn.init.constant_(next(network.parameters()), torch.nan)
    given = {"source": "images", "of": "", "device": torch.device("cpu")}
    sketch_samples(network, train, torch.arange(9), tmp_path / "nan", **given)
    assert not (tmp_path / "nan").exists()


def test_a_published_sketch_names_nothing(tmp_path):
    table = EmbeddingTable(
        embeddings=torch.eye(3), labels=torch.arange(3), names=["secret/a", "secret/b", "c"]
    )
    info = TableInfo(
        rows=3,
        dim=3,
        class_names=["ann", "bob", "cid"],
        weights={"digest": "d", "path": "/home/me"},
        data={"source": "/home/me/photos", "of": "samples", "notes": ["/home/me"]},
    )
    for name in ("own", "public"):
        (tmp_path / name).mkdir()
    write_sketch(tmp_path / "own", table, info)
    publish_sketch(tmp_path / "own", tmp_path / "public")
    content = b"".join(path.read_bytes() for path in (tmp_path / "public" / SKETCH).iterdir())
    for word in (b"secret", b"ann", b"/home", b"notes"):
        assert word not in content
    public = read_sketch(tmp_path / "public")
    assert public.info.data == {"source": "photos", "of": "samples"}
    assert_close(public.load().embeddings, torch.eye(3))
    publish_sketch(tmp_path / "nothing", tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_model_without_a_sketch_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match=r"has no sketch of its training data.*--sketch_from"):
        read_sketch(tmp_path)
