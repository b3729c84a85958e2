"""Images that are not square: every method on rectangular views, and whole runs."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from launching import run
from numpy.testing import assert_allclose
from PIL import Image

import ssl_dml
from ssl_dml.augment import Auto, Crops
from ssl_dml.backbones import PatchBackbone, TimmBackbone
from ssl_dml.backbones.building import build
from ssl_dml.methods import (
    DCL,
    HCL,
    NNCLR,
    NPID,
    PIRL,
    CPCImages,
    MoCo,
    MoCoV3,
    RunInfo,
    SimCLR,
)
from ssl_dml.types import Batch, ImageSpec

PATH = "ssl_dml.backbones.TimmBackbone"
RUN_INFO = RunInfo(num_instances=64, batch_size=8, num_batches=10)
SPEC = ImageSpec(channels=1, size=(32, 16), mean=(0.5,), std=(0.25,))
RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
METHODS = {
    SimCLR: {},
    DCL: {},
    HCL: {},
    MoCo: {"queue_size": 16, "parts": 2},
    MoCoV3: {},
    NNCLR: {"queue_size": 16},
    NPID: {"negatives": 16},
    PIRL: {"negatives": 16, "grid": 2},
}


def views_of(crops):
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (8, 1, 32, 16), dtype=torch.uint8)
    return Auto(SPEC, crops=crops)(pixels, torch.rand(8) * 3 + 0.2)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_rectangles(method):
    views = views_of(Crops(views=1 if method is NPID else 2, size=(24, 16)))
    assert {tuple(view.shape[2:]) for view in views} == {(24, 16)}
    model = method(TimmBackbone(SPEC, **RESNET), RUN_INFO, **METHODS[method])
    loss = model(Batch(views, torch.arange(8))).loss
    loss.backward()
    assert loss.isfinite()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.backbone.parameters())


def test_cpc_takes_a_grid_of_patches_that_is_not_square():
    backbone = PatchBackbone(SPEC, patch=8, stride=4, name="resnet18", width=0.125)
    assert backbone.grid(torch.zeros(2, 1, 32, 16)).shape[1:3] == (7, 3)
    views = views_of(Crops(views=1))
    method = CPCImages(backbone, RUN_INFO, horizon=2, skip=0)
    assert method(Batch(views, torch.arange(8))).loss.isfinite()


def test_a_rotation_of_rectangles_is_refused():
    method = PIRL(TimmBackbone(SPEC, **RESNET), RUN_INFO, pretexts=["rotation"], negatives=16)
    with pytest.raises(ValueError, match=r"must not name rotation for views of 32x16 pixels"):
        method(Batch(views_of(Crops()), torch.arange(8)))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto", "efficientnet_lite0"])
def test_networks_of_other_families_take_rectangles(name):
    images = ImageSpec(channels=3, size=(64, 40), mean=(0.5,) * 3, std=(0.2,) * 3)
    network = TimmBackbone(images, name=name).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 64, 40)).shape == (2, network.feature_dim)


def test_a_network_that_refuses_a_rectangle_names_some_that_work():
    name = "xcit_nano_12_p16_224"
    options = {"depth": 1, "cls_attn_layers": 1}
    with pytest.raises(ValueError, match=r"images of \[56, 24\] pixels.*image_size .*\[64, 32\]"):
        build(PATH, {"name": name, "options": options}, ImageSpec.imagenet((56, 24)))


@pytest.fixture
def persons(tmp_path):
    """80 images of two classes, twice as high as wide and of several sizes."""
    rng = np.random.default_rng(0)
    for label, (low, high) in {"dark": (0, 120), "light": (130, 250)}.items():
        (tmp_path / "in" / label).mkdir(parents=True)
        for i in range(40):
            size = (24 + i % 5, 12 + i % 3)
            array = rng.integers(low, high, size).astype(np.uint8)
            Image.fromarray(array).save(tmp_path / "in" / label / f"{i}.png")
    return tmp_path / "in"


@pytest.mark.parametrize("view", ["center", "pad"])
def test_a_run_on_rectangles_embeds_as_it_was_measured(persons, tmp_path, monkeypatch, view):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "run"
    options = ["--data.image_size", "[32,16]", "--data.test_view", view, "--data.batch_size", "16"]
    options += ["--augment.init_args.crops.size", "[24,16]", "--evaluation.k", "3"]
    options += ["--train.steps", "2", "--train.warmup_epochs", "0"]
    run("pretrain", "--data.source", persons, "--output_dir", folder, *options)
    run("evaluate", "--run", folder, "--knn.ks", "[3]", "--neighbors", "2")
    assert json.loads((folder / "knn.json").read_text())["knn_top1"] > 0.5
    model = ssl_dml.load(folder, device="cpu")
    assert (model.inputs.sides, model.inputs.test_view) == ((32, 16), view)

    with (folder / "neighbors.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    for row in found[:6]:
        here, there = model.embed([row["sample"], row["neighbor"]])
        cosine = here @ there / np.linalg.norm(here) / np.linalg.norm(there)
        assert cosine == pytest.approx(float(row["cosine"]), abs=1e-4)
        assert Path(row["sample"]).parent.name == row["label"]

    paths = sorted(persons.glob("*/*.png"))
    together, alone = model.embed(paths), np.concatenate([model.embed(path) for path in paths[:3]])
    assert_allclose(alone, together[:3], atol=1e-5)
    upright = np.asarray(Image.open(paths[0]))
    assert np.abs(model.embed(upright[:, ::-1]) - together[0]).max() > 1e-4
