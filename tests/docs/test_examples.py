"""Every example is one page and runs."""

import math
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
FILES = sorted(EXAMPLES.glob("*.py"))


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Runs an example as a module in a folder of its own, so that it leaves nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.fixture
def folder(tmp_path):
    """Eight classes of four small images each."""
    rng = np.random.default_rng(0)
    for label in range(8):
        (tmp_path / f"images/{label}").mkdir(parents=True)
        base = rng.integers(0, 200, (16, 16), dtype=np.uint8)
        for number in range(4):
            noisy = base + rng.integers(0, 50, (16, 16), dtype=np.uint8)
            Image.fromarray(noisy).save(tmp_path / f"images/{label}/{number}.png")
    return tmp_path / "images"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_one_page(path):
    assert len(path.read_text().splitlines()) <= 60


def test_simclr_beats_chance(example):
    assert example("simclr")["main"](steps=2) > 0.3  # ten classes; random weights give 0.7


def test_moco_learns_and_saves(example, tmp_path):
    losses = example("moco")["main"](str(tmp_path / "backbone"), steps=3)
    assert all(map(math.isfinite, losses))
    assert len(set(losses)) == 3
    assert (tmp_path / "backbone/model.safetensors").exists()


@pytest.mark.slow
def test_triplets_with_a_miner_find_unseen_classes(example):
    assert example("triplet_with_miner")["main"](steps=10) > 0.2  # 1 / 180 by chance


def test_arcface_finds_unseen_classes(example):
    assert example("arcface")["main"](steps=3) > 2 / 180


def test_own_loss_falls_when_a_class_comes_together(example):
    loss = example("own_loss")["SoftplusPairs"](scale=4.0)
    labels = torch.tensor([0, 0, 1, 1])
    apart, together = torch.eye(4), torch.eye(4)[[0, 0, 1, 1]]
    assert loss(together, labels) < loss(apart, labels)
    with pytest.raises(ValueError, match="scale must be positive, got 0"):
        example("own_loss")["SoftplusPairs"](scale=0.0)(apart, labels)


@pytest.mark.usefixtures("example")
def test_yaml_names_an_own_loss(folder, tmp_path):
    import ssl_dml

    options = {"data.batch_size": 16, "labels.classes_per_batch": 4, "validation.fraction": 0.3}
    model = ssl_dml.finetune(
        folder, config=EXAMPLES / "own_loss.yaml", steps=2, output_dir=tmp_path / "run", **options
    )
    assert model.embed(folder / "0/0.png").shape == (1, model.dim)
    assert "own_loss.SoftplusPairs" in (tmp_path / "run/config.yaml").read_text()


def test_yaml_names_an_own_backbone_and_its_folder_is_searched(example, folder, tmp_path, capsys):
    import ssl_dml

    options = {"data.batch_size": 16, "data.use_labels": False}
    config = EXAMPLES / "own_backbone.yaml"
    ssl_dml.pretrain(folder, config=config, steps=2, output_dir=tmp_path / "run", **options)
    query = str(folder / "3/1.png")
    found = example("embed_folder")["main"](str(tmp_path / "run/backbone"), str(folder), query)
    assert found[query][0] == query  # itself
    assert len(found[query]) == 5
    assert np.load("embeddings.npz")["embeddings"].shape == (32, 128)
    assert query in capsys.readouterr().out
