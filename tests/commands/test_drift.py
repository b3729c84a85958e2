"""ssl_dml drift tells new data from like data, and writes what it found."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_dml.backbones import TimmBackbone, save
from ssl_dml.commands.drift import main
from ssl_dml.commands.embed import main as embed
from ssl_dml.evaluation.sketch import SKETCH, write_sketch
from ssl_dml.files import write_json
from ssl_dml.reading import read_json
from ssl_dml.tables import TABLE, EmbeddingTable, StoredTable, TableInfo
from ssl_dml.training.run_lock import RunLock
from ssl_dml.types import ConfigError, ImageSpec

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


def images(folder, count, seed, *, lift=0):
    """Images of random slopes; ``lift`` makes them lighter."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    slope = np.linspace(0, 1, 16)
    for i in range(count):
        a, b = rng.uniform(20, 100, 2)
        pixels = a * slope[:, None] + b * slope + lift + rng.normal(0, 5, (16, 16))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"<b>{i}.png")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A saved backbone with a sketch of 120 images, and new images like them and lighter ones."""
    root = tmp_path_factory.mktemp("drift")
    torch.manual_seed(0)
    spec = ImageSpec(channels=1, size=16, mean=(0.3,), std=(0.3,))
    trained = {"data": {"decoder": {"channels": 1, "size": 16, "low": 0.0, "high": 255.0}}}
    network = TimmBackbone(spec, **RESNET)
    save(network, root / "run", "ssl_dml.backbones.TimmBackbone", RESNET, trained=trained)
    table = table_of(root / "run", images(root / "old", 120, 0), root / "table")
    main(["--run", str(root / "run"), "--sketch_from", str(table)])
    images(root / "same", 60, 1)
    images(root / "light", 60, 2, lift=60)
    return root


def table_of(run, source, output, *more):
    args = ["--weights", run, "--data.source", source, "--output", output, *more]
    return embed(list(map(str, args)))


def drift(*args):
    return main(list(map(str, args)))


def test_like_data_pass_and_lighter_images_do_not(model, tmp_path, capsys):
    found = drift("--run", model / "run", model / "same", "--output", tmp_path / "a")
    assert found.p > 0.01
    assert f"60 samples of {model / 'same'} are like those of training" in capsys.readouterr().out
    assert json.loads((tmp_path / "a/drift.json").read_text())["differs"] is False
    found = drift(model / "light", "--run", model / "run", "--output", tmp_path / "b")
    printed = capsys.readouterr().out
    assert found.p <= 0.01
    assert f"60 samples of {model / 'light'} differ from those of training: p = 0.00" in printed
    for name in (
        "kernel two-sample test",
        "outside the radius",
        "new beside new",
        "cluster that grew",
    ):
        assert name in printed
    values = json.loads((tmp_path / "b/drift.json").read_text())
    assert values["differs"] is True
    assert values["reference"] == {"samples": 120, "of": f"rows of {model / 'table'}"}
    assert {one["path"] for one in values["unlike"]} <= {f"<b>{i}.png" for i in range(60)}
    assert all(one["nearest"].endswith(".png") for one in values["unlike"])
    page = (tmp_path / "b/drift.html").read_text()
    assert page.count("data:image") == 2 * 48
    assert "<b>0.png" not in page
    assert not list((tmp_path / "b").glob("*.lock"))


def test_a_table_gives_what_its_images_give(model, tmp_path):
    table = table_of(model / "run", model / "light", tmp_path / "light")
    own = drift("--run", model / "run", table, "--output", tmp_path)
    other = drift("--run", model / "run", model / "light", "--output", tmp_path)
    assert own.p == other.p
    torch.testing.assert_close(own.distances, other.distances, atol=1e-3, rtol=0)


def test_what_does_not_fit_is_one_line(model, tmp_path):
    run = model / "run"
    with pytest.raises(ConfigError, match="name new data"):
        drift("--run", run)
    with pytest.raises(ConfigError, match=r"name new data"):
        drift("--run", run, model / "same", "--sketch_from", model / "table")
    with pytest.raises(ConfigError, match=r"draws 99 can show no p-value below --level 0\.001"):
        drift("--run", run, model / "same", "--draws", 99, "--level", 0.001)
    with pytest.raises(ConfigError, match="is no run folder"):
        drift("--run", tmp_path, model / "same")
    few = images(tmp_path / "few", 3, 0)
    with pytest.raises(ConfigError, match="few has 3 samples; at least 8 are needed"):
        drift("--run", run, few, "--output", tmp_path)
    pooled = table_of(run, model / "same", tmp_path / "flip", "--views", "flip")
    with pytest.raises(ConfigError, match="has pool None and views flip; embed without them"):
        drift("--run", run, pooled)
    lock = RunLock(tmp_path, "output")
    with pytest.raises(ConfigError, match="output"):
        drift("--run", run, model / "same", "--output", tmp_path)
    lock.release()
    assert not (tmp_path / "drift.json").exists()


def test_a_sketch_of_another_hand_can_do_little(model, tmp_path, capsys):
    other = shutil.copytree(model / "run", tmp_path / "other")
    digest = StoredTable(other / SKETCH).info.weights
    rows = EmbeddingTable(embeddings=torch.eye(9), labels=torch.full((9,), -1))
    write_sketch(other, rows, TableInfo(rows=9, dim=9, weights=digest))
    with pytest.raises(ConfigError, match=r"sketch has 9 dimensions, and .*same 64; make"):
        drift("--run", other, model / "same", "--output", tmp_path)
    rows = EmbeddingTable(embeddings=torch.rand(9, 64), labels=torch.full((9,), -1))
    data = {"source": 3, "of": "\x1b[2J<b>"}
    write_sketch(other, rows, TableInfo(rows=9, dim=64, weights=digest, data=data))
    found = drift("--run", other, model / "same", "--output", tmp_path)
    assert len(found.distances) == 9  # as many new samples as the sketch has
    printed = capsys.readouterr().out
    assert "9 of 60 samples" in printed
    assert "\x1b[2J" not in printed
    assert "<b>" not in (tmp_path / "drift.html").read_text()


def test_other_weights_are_refused(model, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(model / "run", other)
    info = read_json(other / SKETCH / TABLE)
    info["weights"]["digest"] = "0" * 64
    write_json(other / SKETCH / TABLE, info)
    for new in (model / "same", model / "table"):
        with pytest.raises(ConfigError, match="are of different weights"):
            drift("--run", other, new, "--output", tmp_path)
    (other / SKETCH / "part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"part-00000\.parquet cannot be read"):
        drift("--run", other, model / "same", "--output", tmp_path)
    shutil.rmtree(other / SKETCH)
    with pytest.raises(ConfigError, match="has no sketch of its training data"):
        drift("--run", other, model / "same", "--output", tmp_path)
