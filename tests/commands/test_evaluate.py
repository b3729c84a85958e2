"""Which model and which data an evaluation takes, and where its options come from.

What it measures of a real run is tested in test_pretrain.py and test_finetune.py.
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from launching import completed, run
from PIL import Image

from ssl_dml.api import load
from ssl_dml.backbones import TimmBackbone, save
from ssl_dml.commands.evaluate import FUNCTIONS, EvaluateConfig
from ssl_dml.commands.evaluate import main as evaluate_main
from ssl_dml.commands.finetune import main as finetune_main
from ssl_dml.config import parse
from ssl_dml.data import DataConfig, load_test, load_train
from ssl_dml.distances import Mahalanobis
from ssl_dml.evaluation import Rerank, retrieval, verification
from ssl_dml.evaluation.checkup import checkup
from ssl_dml.tables import EmbeddingTable, TableBatch, TableInfo, write_table
from ssl_dml.types import ConfigError, ImageSpec

ROOT = Path(__file__).parents[2]
NETWORK = "ssl_dml.backbones.TimmBackbone"
RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
STRANGER = """
from ssl_dml.backbones import Backbone

class Mean(Backbone):
    def __init__(self, inputs):
        super().__init__()
        self.inputs, self.feature_dim = inputs, inputs.channels * inputs.size

    def forward(self, images):
        return images.mean(2).flatten(1)
"""


def test_options_are_those_of_the_functions():
    args = ["--run", "x", "--linear.epochs", "3", "--retrieval.ks", "[1, 5]"]
    config, values = parse(
        EvaluateConfig, args, kind="evaluate", default="knn", functions=FUNCTIONS
    )
    assert (config.evaluator, config.model) == ("knn", "backbone")
    assert values["linear"]["epochs"] == 3
    retrieval = values["retrieval"]
    assert {name: retrieval[name] for name in ("ks", "metric")} == {
        "ks": [1, 5],
        "metric": "cosine",
    }
    assert values["knn"]["ks"][0] == 20
    with pytest.raises(ConfigError, match="epoch"):
        parse(EvaluateConfig, ["--linear.epchs", "3"], kind="evaluate", default="knn",
              functions=FUNCTIONS)  # fmt: skip


def drawn_backbone(seed):
    torch.manual_seed(seed)
    return TimmBackbone(ImageSpec(channels=1, size=8, mean=(0.5,), std=(0.25,)), **RESNET)


@pytest.fixture
def tiny_run(tmp_path):
    """A run folder whose backbone was never trained, and its 60 images of three classes."""
    rng = np.random.default_rng(0)
    for label in range(3):
        (tmp_path / f"images/{label}").mkdir(parents=True)
        for i in range(20):
            array = rng.integers(label * 40, label * 40 + 120, (8, 8)).astype(np.uint8)
            Image.fromarray(array).save(tmp_path / f"images/{label}/{i}.png")
    folder = tmp_path / "run"
    save(drawn_backbone(0), folder / "backbone", NETWORK, RESNET, trained={})
    config = {"data": {"source": str(tmp_path / "images")}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def evaluated(folder, *extra, env=None):
    """What the command says, and what it measured with the backbone of the run or with another."""
    script = ROOT / "scripts/evaluate.py"
    given = ["--config", "knn", "--run", folder, "--knn.ks", "[1, 5]", *extra]
    env = {"HOME": str(folder.parent), **(env or {})}
    ended = completed(script, *given, env=env)
    path = folder / ("knn_init.json" if "--init" in extra else "knn.json")
    return ended, json.loads(path.read_text()) if path.exists() else None


def test_other_weights_are_measured_on_the_data_of_the_run(tiny_run, tmp_path):
    other = drawn_backbone(1)
    save(other, tmp_path / "other", NETWORK, RESNET, trained={})
    own_file, other_file = tmp_path / "own.pth", tmp_path / "other.pth"
    torch.save(drawn_backbone(0).network.state_dict(), own_file)
    torch.save(other.network.state_dict(), other_file)
    ended, own = evaluated(tiny_run)
    assert ended.returncode == 0, ended.stderr
    measured = {}
    for init in (tiny_run / "backbone", own_file, tmp_path / "other", other_file):
        ended, measured[init.name] = evaluated(tiny_run, "--init", init)
        assert ended.returncode == 0, ended.stderr
    assert measured["backbone"] == measured["own.pth"] == own
    assert measured["other"] == measured["other.pth"] != own


def assert_one_line(ended, words):
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    (line,) = ended.stderr.splitlines()
    assert words in line


def test_a_file_of_another_network_is_one_line(tiny_run, tmp_path):
    torch.save({"layer.weight": torch.ones(3, 3)}, tmp_path / "wrong.pth")
    ended, measured = evaluated(tiny_run, "--init", tmp_path / "wrong.pth")
    assert_one_line(ended, "wrong.pth' does not fit resnet18 as it is built here: 0 of its")
    (tmp_path / "text.pth").write_text("no weights")
    assert_one_line(evaluated(tiny_run, "--init", tmp_path / "text.pth")[0], "text.pth'")
    assert measured is None


def test_the_class_of_a_stranger_needs_trust(tiny_run, tmp_path, monkeypatch):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/strangers.py").write_text(STRANGER)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delitem(sys.modules, "strangers", raising=False)
    network = importlib.import_module("strangers").Mean(drawn_backbone(0).inputs)
    save(network, tmp_path / "other", "strangers.Mean", {}, trained={})
    given = "--init", tmp_path / "other"
    env = {"PYTHONPATH": str(tmp_path / "modules")}
    ended, measured = evaluated(tiny_run, *given, env=env)
    assert_one_line(ended, "strangers.Mean is of a module that is not imported; if you trust it")
    assert measured is None
    ended, measured = evaluated(tiny_run, *given, "--trust", "true", env=env)
    assert ended.returncode == 0, ended.stderr
    assert measured


def table_of(folder, source, split):
    """Pixels of a split as a stored table."""
    train = load_train(DataConfig(source=source))
    samples = train if split == "train" else load_test(DataConfig(source=source), train)
    rows = torch.arange(0, len(samples), 5)
    pixels = samples[rows][0].flatten(1).float()
    names = list(samples.names.at(rows.tolist()))
    batch = TableBatch(names=names, labels=samples.labels[rows], embeddings=pixels)
    info = TableInfo(rows=0, dim=pixels.shape[1], class_names=samples.class_names)
    return write_table(folder, info, [batch])


def test_tables_are_measured_without_a_run(tmp_path, capsys):
    gallery, query = (table_of(tmp_path / s, "fashion_mini", s) for s in ("train", "test"))
    tables = "--gallery", str(gallery.folder), "--query", str(query.folder)
    evaluate_main(["--config", "knn", *tables, "--neighbors", "2"])
    expected = FUNCTIONS["knn"][0](gallery.load(), query.load())
    assert json.loads((gallery.folder / "knn.json").read_text()) == expected
    assert "400 rows of" in capsys.readouterr().out
    lines = (gallery.folder / "neighbors.csv").read_text().splitlines()
    assert len(lines) == 1 + 400 * 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--query", "b"], "--query is a table beside that of --gallery; name both"),
        (["--gallery", "b"], "knn needs a table of test samples beside --gallery: --query TABLE"),
        (["--gallery", "b", "--query", "c"], "b is no table: it lacks table.json"),
    ],
)
def test_tables_that_are_missing_are_named(args, words):
    with pytest.raises(ConfigError, match=words):
        evaluate_main(["--config", "knn", *args])


@pytest.mark.parametrize("evaluator", [
    "knn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("linear", "retrieval",
    "logistic", "clustering", "label_distances")),
])  # fmt: skip
def test_two_processes_measure_what_one_does(tiny_run, evaluator):
    """Those that are shared, and one that the first process measures after the other has left."""
    words = ["--run", str(tiny_run), "--evaluator", evaluator, "--neighbors", "2"]
    options = {"knn": ["--knn.ks", "[1, 5]"], "linear": ["--linear.epochs", "2"]}
    words += options.get(evaluator, [])
    found = []
    for processes in (0, 2):
        run("evaluate", *words, processes=processes)
        found.append(json.loads((tiny_run / f"{evaluator}.json").read_text()))
        assert len((tiny_run / "neighbors.csv").read_text().splitlines()) > 1
        (tiny_run / f"{evaluator}.json").unlink()
        (tiny_run / "neighbors.csv").unlink()
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_health_needs_no_labels_and_makes_views(tiny_run, capsys):
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    gray = {"class_path": "ssl_dml.augment.Gray", "init_args": {"crops": {"flip": 0.0}}}
    (tiny_run / "config.yaml").write_text(yaml.safe_dump({**config, "augment": gray}))
    evaluate_main(["--run", str(tiny_run), "--evaluator", "health"])
    found = json.loads((tiny_run / "health.json").read_text())
    assert {"rankme", "alpha_req", "hubness", "intrinsic_dimension", "lidar"} < {*found}
    out = capsys.readouterr().out
    assert "60 training samples" in out
    assert "is below 2, where data lie along lines: neighbors differ in one way alone" in out


def test_health_of_a_table_leaves_views_out(tmp_path):
    rows = torch.randn(60, 5)
    batch = TableBatch(
        names=[f"{i}" for i in range(60)], labels=torch.full((60,), -1), embeddings=rows
    )
    folder = write_table(tmp_path / "table", TableInfo(rows=0, dim=5), [batch]).folder
    evaluate_main(["--gallery", str(folder), "--evaluator", "health"])
    found = json.loads((folder / "health.json").read_text())
    assert found == checkup(EmbeddingTable.open(folder))
    assert "lidar" not in found


def people(folder, *, rows=90):
    """A table of drawn identities, each seen by three cameras."""
    labels = torch.arange(rows) % 15
    values = torch.randn(15, 6)[labels] + 0.7 * torch.randn(rows, 6)
    batch = TableBatch(
        names=[f"{i}.png" for i in range(rows)],
        labels=labels,
        embeddings=values,
        columns={"camera": [f"c{i // 15 % 3}" for i in range(rows)], "clip": [*range(rows)]},
    )
    info = TableInfo(rows=0, dim=6, class_names=[f"person {i}" for i in range(15)])
    return write_table(folder, info, [batch]).load()


def test_a_condition_an_order_and_a_matrix_are_named_on_the_command_line(tmp_path, capsys):
    table = people(tmp_path / "table")
    np.save(tmp_path / "matrix.npy", np.diag([1.0, 2, 3, 4, 5, 6]))
    evaluate_main([
        *("--config", "retrieval", "--gallery", str(tmp_path / "table")),
        *("--retrieval.across", "camera", "--retrieval.only", "c1"),
        *("--retrieval.leave_out", "value_of_class", "--retrieval.measures", "[recall, map]"),
        *("--retrieval.rerank.k1", "6", "--retrieval.confidence", "0.9"),
        *("--retrieval.metric", "Mahalanobis", "--retrieval.metric.kind", "given"),
        f"--retrieval.metric.matrix={tmp_path / 'matrix.npy'}",
    ])  # fmt: skip
    expected = retrieval(
        table,
        across="camera",
        only="c1",
        leave_out="value_of_class",
        measures=["recall", "map"],
        rerank=Rerank(k1=6),
        confidence=0.9,
        metric=Mahalanobis(kind="given", matrix=tmp_path / "matrix.npy"),
    )
    assert json.loads((tmp_path / "table/retrieval.json").read_text()) == expected
    assert expected["queries"] == 30
    assert "(90% interval " in capsys.readouterr().out


def test_verification_and_open_set_say_what_cannot_be_measured(tmp_path, capsys):
    table = people(tmp_path / "table")
    (tmp_path / "pairs.csv").write_text(
        "".join(f"0.png,{i}.png,{i % 15 == 0:d}\n" for i in range(1, 90))
    )
    where = "--gallery", str(tmp_path / "table")
    evaluate_main(["--config", "verification", *where])
    said, measured = capsys.readouterr().out, tmp_path / "table/verification.json"
    assert "90 rows of" in said
    assert "tar_at_far_1e-05                 not measurable: too few for this rate\n" in said
    found, expected = json.loads(measured.read_text()), verification(table)
    assert found["tar_at_far_1e-05"] is None
    assert found["tar_at_far_0.01"] == expected["tar_at_far_0.01"]
    evaluate_main(["--config", "verification", *where,
                   f"--verification.pairs={tmp_path / 'pairs.csv'}"])  # fmt: skip
    assert json.loads(measured.read_text())["genuine"] == 5
    assert "accuracy " in capsys.readouterr().out
    evaluate_main(["--config", "open_set", *where])
    assert json.loads((tmp_path / "table/open_set.json").read_text())["rank_1"] > 0.5
    with pytest.raises(ConfigError, match="no column 'clips', only camera, clip"):
        evaluate_main(["--config", "verification", *where, "--verification.template", "clips"])


@pytest.mark.slow
def test_verification_is_a_command(tmp_path):
    people(tmp_path / "table")
    given = (
        ROOT / "scripts/evaluate.py",
        "--config",
        "verification",
        "--gallery",
        tmp_path / "table",
    )
    ended = completed(*given, "--verification.drawn", "500")
    assert ended.returncode == 0, ended.stderr
    assert "accuracy " in ended.stdout
    ended = completed(*given, "--verification.pairs", "none.csv")
    assert_one_line(ended, "pairs 'none.csv' cannot be read: No such file")


def test_layers_are_measured_in_one_table(tiny_run, capsys):
    evaluate_main(["--run", str(tiny_run), "--evaluator", "layers", "--layers.k", "3"])
    lines = capsys.readouterr().out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("pooling"))
    names = [line.split()[0] for line in lines[first + 1 : first + 9]]
    assert names == ["trained", "mean", "gem", *(f"layer:{i}" for i in range(5))]
    found = json.loads((tiny_run / "layers.json").read_text())
    plain = ["--run", str(tiny_run), "--config", "knn", "--knn.ks", "[3]"]
    evaluate_main(plain)
    assert found["trained_knn_top1"] == json.loads((tiny_run / "knn.json").read_text())["knn_top1"]
    with pytest.raises(ConfigError, match="layers needs the network, not a table of it"):
        evaluate_main(["--gallery", str(tiny_run), "--evaluator", "layers"])


@pytest.mark.parametrize(
    ("evaluator", "option", "value"), [("clustering", "seeds", 2), ("few_shot", "episodes", 20)]
)
def test_a_table_is_measured_on_its_own(tmp_path, evaluator, option, value, capsys):
    rows, names = torch.randn(400, 8), [f"{i}.png" for i in range(400)]
    batch = TableBatch(names=names, labels=torch.arange(400) % 10, embeddings=rows)
    info = TableInfo(rows=0, dim=8, class_names=[f"class {i}" for i in range(10)])
    table = write_table(tmp_path / "test", info, [batch])
    given = f"--{evaluator}.{option}={value}"
    evaluate_main(["--gallery", str(table.folder), "--evaluator", evaluator, given])
    lines = capsys.readouterr().out.splitlines()
    assert f"400 rows of {table.folder}" in lines
    assert sum("95% interval" in line for line in lines) >= 4
    expected = FUNCTIONS[evaluator][0](table.load(), **{option: value})
    assert json.loads((table.folder / f"{evaluator}.json").read_text()) == expected


def test_a_linear_probe_of_fine_tuning_is_measured(tiny_run, tmp_path):
    """Crops and flips on a frozen backbone, then the classes of test samples."""
    for split, numbers in (("train", range(15)), ("test", range(15, 20))):
        for label in range(3):
            (tmp_path / f"split/{split}/{label}").mkdir(parents=True)
            for i in numbers:
                image = (tmp_path / f"images/{label}/{i}.png").read_bytes()
                (tmp_path / f"split/{split}/{label}/{i}.png").write_bytes(image)
    probe = tmp_path / "probe"
    given = {
        "config": "linear_probe",
        "init": tiny_run / "backbone",
        "data.source": tmp_path / "split",
        "data.batch_size": 15,
        "output_dir": probe,
        "train.epochs": 20,
        "embedding_dim": 3,
    }
    finetune_main([f"--{key}={value}" for key, value in given.items()])
    before, after = (load(folder) for folder in (tiny_run, probe))
    for name, value in before.backbone.state_dict().items():
        assert torch.equal(value, after.backbone.state_dict()[f"backbone.{name}"]), name
    evaluate_main(["--run", str(probe), "--evaluator", "classifier"])
    found = json.loads((probe / "classifier.json").read_text())
    assert found["classifier_top1"] > 0.6  # a third by chance
