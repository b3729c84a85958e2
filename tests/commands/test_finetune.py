"""Fine-tuning as a user runs it: from a pretrained backbone, killed, resumed, and mistaken."""

import json
import os
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from launching import digest, finish, rows, run, start, wait_for
from PIL import Image

import ssl_dml
from ssl_dml.backbones import Embedder, load
from ssl_dml.tables import StoredTable
from ssl_dml.training.run_lock import RunLock
from ssl_dml.types import ConfigError

ROOT = Path(__file__).parents[2]
CLASSES, EACH, SIDE = 8, 12, 12
STEPS = 20
SMALL = [
    "--data.batch_size", "16", "--train.steps", STEPS, "--train.save_every", "3",
    "--train.warmup_epochs", "0", "--train.log_every", "1", "--validation.fraction", "0.25",
    "--validation.every_epochs", "1", "--embedding_dim", "16",
]  # fmt: skip
SPLIT = """
class_path: ssl_dml.heads.WeightedSum
init_args:
  heads:
    classes:
      class_path: ssl_dml.heads.MarginSoftmax
      init_args:
        margin: {class_path: ssl_dml.margins.AdaFace, init_args: {scale: 16.0}}
        sample_rate: 0.5
        sharded: true
    pairs:
      class_path: ssl_dml.heads.PairHead
      init_args:
        loss: {class_path: ssl_dml.losses.Triplet}
        miner: {class_path: ssl_dml.mining.DistanceWeighted}
        memory_size: 40
    center:
      class_path: ssl_dml.heads.CenterLoss
  weights: {center: 0.003}
"""


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Eight classes of noisy images, each around an image of its own."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for label in range(CLASSES):
        (root / f"class_{label}").mkdir()
        center = rng.integers(60, 190, (SIDE, SIDE))
        for number in range(EACH):
            image = (center + rng.normal(0, 25, center.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / f"class_{label}" / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """A run that was never stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, run("finetune", "--data.source", images, "--output_dir", folder, *SMALL)


@pytest.fixture(scope="module")
def split_config(tmp_path_factory):
    """Heads with every kind of state: split rows, statistics, a memory, draws, centers."""
    config = yaml.safe_load((ROOT / "configs/finetune/arcface.yaml").read_text())
    config["head"] = yaml.safe_load(SPLIT)
    config["labels"] = {"classes_per_batch": 4}
    path = tmp_path_factory.mktemp("config") / "split.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_run_leaves_what_it_promises(finished):
    folder, printed = finished
    names = {path.name for path in folder.iterdir()}
    expected = {"config.yaml", "data.json", "metrics.jsonl", "tensorboard", "checkpoints"}
    assert names == expected | {"backbone", "best", "environment.json", "views.png"}
    for model in ("backbone", "best"):
        sketch = StoredTable(folder / model / "sketch").info
        assert sketch.weights["digest"] == ssl_dml.load(folder / model).digest
        assert (sketch.rows, sketch.data["of"]) == (96, "training samples")
    assert "72 samples of 6 classes to train on" in printed
    assert "validation: 24 samples held out, searched among one another" in printed
    for line in ("before the first step", "best, ", "last, 5 epochs", "--config retrieval"):
        assert line in printed
    measured = [row for row in rows(folder) if "eval/recall_at_1" in row]
    assert [row["step"] for row in measured] == [0, 4, 8, 12, 16, 20]
    names = ("recall_at_2", "recall_at_4", "recall_at_8", "map_at_r", "r_precision", "spread")
    assert {f"eval/{name}" for name in names} <= set(measured[0])
    best = max(measured, key=lambda row: row["eval/recall_at_1"])["step"]
    metadata = json.loads((folder / "best/backbone.json").read_text())
    assert metadata["trained"]["steps"] == best


def test_nested_prefixes_are_trained_and_told_of(images, tmp_path):
    given = {
        "steps": 2,
        "train": {"log_every": 1},
        "data": {"batch_size": 16},
        "validation": {"fraction": None},
    }
    given |= {"embedding_dim": 16, "output_dir": tmp_path / "run"}
    model = ssl_dml.finetune(images, nested=[4, 16], **given)
    assert model.dim == 16
    metadata = json.loads((tmp_path / "run/backbone/backbone.json").read_text())
    assert metadata["trained"]["nested"] == [4, 16]
    logged = next(row for row in rows(tmp_path / "run") if "train/loss" in row)
    assert {"train/loss_4", "train/loss_16", "train/own_cosine_4"} <= set(logged)
    total = logged["train/loss_4"] + logged["train/loss_16"]
    assert logged["train/loss"] == pytest.approx(total, rel=1e-4)
    given["output_dir"] = tmp_path / "other"
    with pytest.raises(ConfigError, match=r"nested must rise to 16, .* set it to \[4, 16\]"):
        ssl_dml.finetune(images, nested=[4, 32], **given)


@pytest.mark.slow
def test_an_ordered_embedding_is_that_of_both_models_and_of_their_sketches(images, tmp_path):
    given = {"steps": 4, "data": {"batch_size": 16}, "embedding_dim": 16, "ordered": True}
    given |= {"validation": {"fraction": 0.25}}
    model = ssl_dml.finetune(images, **given, output_dir=tmp_path / "run")
    for name in ("backbone", "best"):
        metadata = json.loads((tmp_path / "run" / name / "backbone.json").read_text())
        assert metadata["trained"]["ordered"] is True
        assert metadata["init_args"]["neck"] == "linear"
        sketch = StoredTable(tmp_path / "run" / name / "sketch").info
        assert sketch.weights["digest"] == ssl_dml.load(tmp_path / "run" / name).digest
    plain = ssl_dml.finetune(images, **{**given, "ordered": False}, output_dir=tmp_path / "plain")
    paths = sorted(images.rglob("*.png"))
    ordered, before = (
        F.normalize(torch.from_numpy(one.embed(paths)), dim=1) for one in (model, plain)
    )
    assert (ordered - before).abs().max() > 0.1
    torch.testing.assert_close(ordered @ ordered.T, before @ before.T, atol=1e-4, rtol=0)
    for wrong in ({"neck": "none", "embedding_dim": None}, {"labels": {"continuous": True}}):
        with pytest.raises(ConfigError, match=r"ordered needs classes .*: set ordered to false"):
            ssl_dml.finetune(images, **{**given, **wrong}, output_dir=tmp_path / "wrong")


def test_the_folder_of_a_live_run_is_left_alone(finished):
    folder, _ = finished
    lock, before = RunLock(folder), digest(folder, STEPS)
    code, _, err = finish(start("finetune", "--output_dir", folder, "--resume", "true"))
    lock.release()
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert f"is in use by process {os.getpid()} on host" in line
    assert digest(folder, STEPS) == before


def test_its_embedding_loads_with_one_call(finished):
    embedder = load(finished[0] / "backbone")
    assert isinstance(embedder, Embedder)
    assert embedder(torch.randn(2, 1, SIDE, SIDE)).shape == (2, 16)


def test_a_kill_and_a_resume_are_as_if_nothing_had_been(finished, images, tmp_path):
    folder = tmp_path / "run"
    process = start("finetune", "--data.source", images, "--output_dir", folder, *SMALL)
    wait_for(folder / "checkpoints/step_3", process)
    process.kill()
    finish(process)
    assert not (folder / "backbone").exists()
    assert "going on from" in run("finetune", "--output_dir", folder, "--resume", "true")
    assert digest(folder, STEPS) == digest(finished[0], STEPS)
    for name in ("model.safetensors", "backbone.json"):
        again, once = (place / "best" / name for place in (folder, finished[0]))
        assert again.read_bytes() == once.read_bytes()


@pytest.mark.slow
def test_two_processes_with_split_rows_resume_bit_for_bit(split_config, images, tmp_path):
    command = ["--config", split_config, "--data.source", images, *SMALL]
    # While the backbone is frozen there is nothing for DDP to average.
    command += ["--finetune.freeze_epochs", "1", "--neck", "none", "--embedding_dim"]
    command.append("null")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run("finetune", *command, "--output_dir", whole, processes=2)
    process = start("finetune", *command, "--output_dir", killed, processes=2)
    wait_for(killed / "checkpoints/step_3", process)
    process.kill()
    finish(process)
    run("finetune", "--output_dir", killed, "--resume", "true", processes=2)
    assert digest(killed, STEPS) == digest(whole, STEPS)
    names = {path.name for path in (whole / f"checkpoints/step_{STEPS}").iterdir()}
    assert {"rows_0.pt", "rows_1.pt"} <= names
    more = ["--train.steps", STEPS + 2]
    printed = run("finetune", "--output_dir", killed, "--resume", "true", *more)
    assert "made by 2 processes, with 1" in printed
    assert rows(killed)[-1]["step"] == STEPS + 2


@pytest.mark.slow
def test_a_frozen_backbone_stays_as_it_was_pretrained(images, tmp_path):
    first, second = tmp_path / "pretrained", tmp_path / "tuned"
    small = ["--data.batch_size", "16", "--train.steps", "3", "--train.warmup_epochs", "0"]
    source = ["--data.source", images]
    run("pretrain", *source, *small, "--evaluation.k", "5", "--output_dir", first)
    frozen = [*SMALL, "--init", first / "backbone", "--finetune.freeze_epochs", "2"]
    # Eight steps with a validation after four, which is not to wake what is frozen.
    run("finetune", *source, *frozen, "--train.steps", "8", "--output_dir", second)
    before, after = load(first / "backbone"), load(second / "backbone")
    for name, value in after.backbone.state_dict().items():
        assert torch.equal(value, before.state_dict()[name]), name
    run("finetune", "--output_dir", second, "--resume", "true", "--train.steps", "12")
    moved = load(second / "backbone").backbone.state_dict()
    assert any(not torch.equal(value, before.state_dict()[n]) for n, value in moved.items())


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """Bars anywhere and of any width, at angles that are their labels; as tables of arrays."""
    root, rng = tmp_path_factory.mktemp("bars"), np.random.default_rng(0)
    across, down = np.meshgrid(*2 * [np.linspace(-1, 1, SIDE)])
    for split, count in (("train", 256), ("test", 64)):
        angles = rng.uniform(0, 2, count)
        aside, width, light = rng.uniform(
            ((-0.6,), (0.15,), (80,)), ((0.6,), (0.5,), (230,)), (3, count)
        )
        far = [
            down * np.cos(a) - across * np.sin(a) - b for a, b in zip(angles, aside, strict=True)
        ]
        images = [
            i * np.exp(-((d / w) ** 2)) + rng.normal(15, 5, d.shape)
            for d, w, i in zip(far, width, light, strict=True)
        ]
        table = {
            "image": [p.clip(0, 255).astype(np.uint8)[..., None].tolist() for p in images],
            "label": angles.tolist(),
        }
        shape = datasets.Array3D((SIDE, SIDE, 1), "uint8")
        features = datasets.Features({"image": shape, "label": datasets.Value("float64")})
        datasets.Dataset.from_dict(table, features).to_parquet(str(root / f"{split}-0.parquet"))
    return root


@pytest.mark.slow
def test_adapters_learn_and_are_merged(finished, images, tmp_path):
    start = finished[0] / "backbone"
    command = ["--data.source", images, *SMALL, "--init", start, "--finetune.lora_rank", "2"]
    printed = run("finetune", *command, "--output_dir", tmp_path / "run")
    assert "finetune.lora_rank is 2: " in printed
    old, new = (load(place / "backbone").state_dict() for place in (start.parent, tmp_path / "run"))
    assert [name for name in new if name.startswith("backbone.")] == [f"backbone.{n}" for n in old]
    moved = {name for name in old if not torch.equal(old[name], new[f"backbone.{name}"])}
    assert "backbone.network.layer1.0.conv1.weight" in moved
    assert all(old[name].ndim > 1 for name in moved)  # matrices alone: no norm, no statistics
    shutil.rmtree(tmp_path / "run/checkpoints/step_20")
    weights_file = tmp_path / "run/backbone/model.safetensors"
    before = weights_file.read_bytes()
    run("finetune", "--output_dir", tmp_path / "run", "--resume", "true")
    assert weights_file.read_bytes() == before


@pytest.mark.slow
def test_labels_that_are_numbers(bars, tmp_path):
    folder, probe = tmp_path / "run", "configs/evaluate/retrieval.yaml"
    printed = run(
        "finetune", "--config", ROOT / "configs/finetune/log_ratio.yaml", "--data.source", bars,
        "--output_dir", folder, "--data.batch_size", "32", "--labels.nearest", "8",
        "--train.epochs", "12", "--validation.fraction", "0.25",
    )  # fmt: skip
    assert "192 samples of 192 labels to train on" in printed
    assert "label distance" in printed
    measured = [row for row in rows(folder) if "eval/label_distance_at_1" in row]
    first, last = (measured[i]["eval/label_distance_at_1"] for i in (0, -1))
    assert last < 0.6 * first
    best = min(measured, key=lambda row: row["eval/label_distance_at_1"])["step"]
    assert json.loads((folder / "best/backbone.json").read_text())["trained"]["steps"] == best
    asked = ["--config", ROOT / probe, "--run", folder, "--evaluator", "label_distances"]
    found = (
        json.loads((folder / "label_distances.json").read_text()) if run("evaluate", *asked) else {}
    )
    assert found["label_distance_at_1"] < 0.6 * first
    assert found["label_distance_at_8"] < first


@pytest.mark.slow
def test_weights_of_timm_on_disk(images, tmp_path):
    import timm

    torch.save(timm.create_model("resnet10t", num_classes=5).state_dict(), tmp_path / "w.pth")
    config = yaml.safe_load((ROOT / "configs/finetune/arcface.yaml").read_text())
    config["backbone"]["init_args"] = {"name": "resnet10t", "stem": "standard"}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = ["--config", path, "--data.source", images, *SMALL, "--train.steps", "1"]
    run("finetune", *command, "--init", tmp_path / "w.pth", "--output_dir", tmp_path / "run")
    config["backbone"]["init_args"]["name"] = "resnet18"
    path.write_text(yaml.safe_dump(config))
    other = ["--init", tmp_path / "w.pth", "--output_dir", tmp_path / "other"]
    code, _, err = finish(start("finetune", *command, *other))
    assert code == 1
    assert f"{tmp_path / 'w.pth'}' does not fit resnet18" in err
    assert err.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data.use_labels", "false"], "fine-tuning needs labels and the samples have none"),
        (["--init", "nowhere"], "init 'nowhere': there is no such file or folder"),
        (["--validation.fraction", "0.99"], "validation.fraction"),
        (["--train.ema", "0.9"], "train.ema is 0.9, and averages the weights in pretraining only"),
        (["--labels.classes_per_batch", "7"], "the number of classes that have samples, 6; got 7"),
        (["--data.batch_size", "1"], "data.batch_size must be at least 2 for a network with batch"),
        (
            ["--finetune.layer_decay", "2"],
            "finetune.layer_decay must be above 0 and at most 1, got 2.0",
        ),
        (
            ["--neck", "batch_norm"],
            "embedding_dim must be null or the 128 of the backbone",
        ),
        (["--init", "{backbone}", "--data.channels", "3"], "data.channels is 3, and the backbone"),
        (
            [
                "--config",
                ROOT / "configs/finetune/triplet.yaml",
                "--neck",
                "none",
                "--embedding_dim",
                "null",
                "--finetune.freeze_epochs",
                "1",
                "--labels.classes_per_batch",
                "4",
            ],
            "finetune.freeze_epochs is 1.0 and leaves nothing to train",
        ),
        (["--finetune.lora_rank", "4"], "lora_rank is 4 and would keep random weights as they are"),
        (["--labels.continuous", "true"], "as many of each sample, and one is 'class_0'"),
        (["--head.init_args.sample_rate", "0"], "sample_rate must be above 0 and at most 1"),
        (
            ["--init", "{weights}"],
            "weights.pth' does not fit resnet18 as it is built here: 0 of its 60 tensors found, "
            "conv1.weight missing, encoder.conv1.weight of the file unused; set name, stem, ",
        ),
        (
            ["--backbone.init_args.options", "{{checkpoint_path: evil.pth}}"],
            "error: backbone.options.checkpoint_path is 'evil.pth', and options load no weights",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    finished, images, tmp_path, arguments, words
):
    weights = tmp_path / "weights.pth"
    torch.save({"encoder.conv1.weight": torch.zeros(64, 1, 3, 3)}, weights)
    given = [str(a).format(backbone=finished[0] / "backbone", weights=weights) for a in arguments]
    command = ["--data.source", images, "--output_dir", tmp_path / "run", *SMALL, *given]
    code, _, err = finish(start("finetune", *command))
    assert code in (1, 2)
    assert words in err
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "run").exists()


def test_a_head_for_classes_is_not_given_numbers(bars, tmp_path):
    command = ["--data.source", bars, "--output_dir", tmp_path / "run", "--data.batch_size", "64"]
    code, _, err = finish(start("finetune", *command, "--labels.continuous", "true"))
    assert code in (1, 2)
    words = "error: head MarginSoftmax is for class labels, and labels.continuous is true"
    assert err.strip().splitlines()[-1] == words
    assert not (tmp_path / "run").exists()


def test_other_classes_on_resume_are_named(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    command = ["--output_dir", tmp_path / "run", "--resume", "true", "--validation.fraction", "0.5"]
    code, _, err = finish(start("finetune", *command))
    assert code == 1
    assert "was made with classes 6 and this run has 4" in err
    command[-2:] = ["--validation.seed", "1"]
    code, _, err = finish(start("finetune", *command))
    assert code == 1
    assert "was made with labels and what is held out" in err
    assert "Traceback" not in err
