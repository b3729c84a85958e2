"""Classifiers on a run: which rate is chosen on what, and what is tested."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import ssl_dml
from ssl_dml.commands.probe import ProbeConfig, main, probe
from ssl_dml.types import ConfigError

CLASSES = ("ash", "birch", "cedar")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps on images of three classes, of which one has few test images."""
    root, rng = tmp_path_factory.mktemp("probe"), np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        for split, count in (("train", 20), ("test", 4)):
            folder = root / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = 60 + 60 * label + rng.normal(0, 8, (12, 12))
                image[label::3] += 50
                saved = Image.fromarray(image.clip(0, 255).astype(np.uint8))
                saved.save(folder / f"{number}.png")
    given = {"data": {"batch_size": 16}, "evaluation": {"every_epochs": 100}}
    ssl_dml.pretrain(root / "images", steps=2, output_dir=root / "run", **given)
    return root / "run"


def accuracy(folder, images):
    """Of a saved classifier on images below a folder of classes, without the toolkit's measures."""
    paths = sorted(images.rglob("*.png"))
    with torch.no_grad():
        values = ssl_dml.load(folder).embed(paths)
    own = [CLASSES.index(path.parent.name) for path in paths]
    return float((values.argmax(axis=1) == own).mean())


def check(run, kind, found, rates):
    written = json.loads((run / "probes" / f"{kind}.json").read_text())
    assert set(written["tried"]) == {f"{rate:g}" for rate in rates}
    assert written["tried"][f"{found['lr']:g}"] == max(written["tried"].values())
    assert found["held_out_top1"] == max(written["tried"].values())
    assert {key: written[key] for key in found} == found
    folder = run / "probes" / kind
    assert found["classifier_top1"] == pytest.approx(accuracy(folder, run.parent / "images/test"))
    for rate in rates:
        metadata = json.loads((run / f"probes/{kind}_{rate:g}/backbone/backbone.json").read_text())
        assert metadata["trained"]["steps"] == 6  # of 54 images, a tenth of 3 times 20 held out
    metadata = json.loads((folder / "backbone/backbone.json").read_text())
    assert metadata["trained"]["steps"] == 14  # twice as long, and of all 60


def state_of(folder):
    return ssl_dml.load(folder).backbone.state_dict()


def test_a_linear_probe_is_of_the_frozen_network_and_of_the_rate_that_held_out_samples_choose(run):
    given = {"rates": [1e-6, 0.3], "epochs": 2.0, "trial": 0.5, "batch_size": 8, "threads": 1}
    found = probe(ProbeConfig(run=run, kinds=["linear"], **given))["linear"]
    check(run, "linear", found, given["rates"])
    assert found["lr"] == 0.3
    assert found["classifier_top1"] > 0.6
    before, after = state_of(run), state_of(run / "probes/linear")
    weights = [name for name in before if name.endswith("conv1.weight")]
    assert weights
    assert all(torch.equal(before[name], after[f"backbone.{name}"]) for name in weights)


@pytest.mark.slow
def test_the_whole_network_is_trained(run):
    given = {"rates": [1e-6, 0.05], "epochs": 2.0, "trial": 0.5, "batch_size": 8, "threads": 1}
    found = probe(ProbeConfig(run=run, kinds=["whole"], **given))["whole"]
    check(run, "whole", found, given["rates"])
    before, after = state_of(run), state_of(run / "probes/whole")
    assert any((before[name] != after[f"backbone.{name}"]).any() for name in before)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--rates=[]"], r"probe\.rates must name a learning rate"),
        (["--rates=[0.0]"], r"probe\.rates must be positive, got 0"),
        (["--trial=1.5"], r"probe\.trial must be above 0 and at most 1, got 1\.5"),
        (["--held_out=1"], r"probe\.held_out must be above 0 and below 1, got 1"),
        ([], "is no run folder"),
    ],
)
def test_a_mistake_is_a_line(args, words, tmp_path):
    with pytest.raises(ConfigError, match=words) as error:
        main([f"--run={tmp_path}", *args])
    assert "\n" not in str(error.value)
