"""The scripts as a user runs them: real processes, real kills, real files."""

import json
import os
import platform
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
import yaml
from launching import digest, finish, rows, run, start, wait_for
from PIL import Image
from safetensors.torch import load_file

import ssl_dml
from ssl_dml.backbones import load
from ssl_dml.reading import read_json
from ssl_dml.tables import StoredTable
from ssl_dml.training.run_lock import LOCK, RunLock
from ssl_dml.types import ConfigError

ROOT = Path(__file__).parents[2]
CLOTHES = sorted(
    path.stem
    for path in (ROOT / "configs/pretrain").glob("*.yaml")
    if "source: fashion_mini" in path.read_text()
)
SMALL = [
    "--data.batch_size", "16", "--train.steps", "60", "--train.save_every", "4",
    "--train.warmup_epochs", "0", "--train.log_every", "1", "--evaluation.every_epochs", "5",
    "--evaluation.k", "5",
]  # fmt: skip
NPID = """
class_path: ssl_dml.methods.NPID
init_args: {negatives: 32, normalizer: average, output_dim: 16, storage: {sharded: true}}
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """100 images of two classes."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for label, value in (("dark", 60), ("light", 190)):
        (root / label).mkdir()
        for i in range(50):
            array = rng.integers(value - 50, value + 50, (12, 12)).astype(np.uint8)
            Image.fromarray(array).save(root / label / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def npid_config(tmp_path_factory):
    config = yaml.safe_load((ROOT / "configs/pretrain/default.yaml").read_text())
    config["method"] = yaml.safe_load(NPID)
    path = tmp_path_factory.mktemp("config") / "npid.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    """Stores of decoded images go where the tests end, not into the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """A run that was never stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return folder, run("pretrain", "--data.source", images, "--output_dir", folder, *SMALL)


def test_nested_prefixes_of_the_features_are_told_of(images, tmp_path):
    given = {"steps": 2, "data": {"batch_size": 16}, "evaluation": {"k": 2}}
    given["train"] = {"threads": 1}
    ssl_dml.pretrain(images, nested=[32, 128], output_dir=tmp_path / "run", **given)
    metadata = json.loads((tmp_path / "run/backbone/backbone.json").read_text())
    assert metadata["trained"]["nested"] == [32, 128]
    given |= {"config": "npid", "output_dir": tmp_path / "npid"}
    given["train"] = {"threads": 1, "log_every": 1}
    ssl_dml.pretrain(images, nested=[32, 128], **given)
    logged = next(row for row in rows(tmp_path / "npid") if "train/loss" in row)
    assert {"train/loss_32", "train/loss_128", "train/log_z", "train/log_z_32"} <= set(logged)
    total = logged["train/loss_32"] + logged["train/loss_128"]
    assert logged["train/loss"] == pytest.approx(total, rel=1e-4)
    given["output_dir"] = tmp_path / "wrong"
    with pytest.raises(ConfigError, match=r"nested must rise to 128, .* got \[32, 64\]"):
        ssl_dml.pretrain(images, nested=[32, 64], **given)


def test_a_run_leaves_what_it_promises(finished):
    folder, printed = finished
    names = {path.name for path in folder.iterdir()}
    expected = {"config.yaml", "data.json", "metrics.jsonl", "tensorboard", "checkpoints"}
    expected |= {"environment.json", "views.png"}
    assert names == expected | {"backbone"}
    sketch, data = StoredTable(folder / "backbone/sketch"), read_json(folder / "data.json")
    assert sketch.info.weights["digest"] == ssl_dml.load(folder).digest
    assert sketch.info.rows == data["samples"]
    assert sketch.info.data["of"] == "training samples"
    found = rows(folder)
    assert [row["step"] for row in found if "train/loss" in row] == list(range(1, 61))
    probes = [row for row in found if "eval/knn_top1" in row]
    assert [row["step"] for row in probes] == [0, 30, 60]
    assert {"eval/rankme", "eval/alignment", "eval/uniformity", "eval/spread"} <= set(probes[1])
    assert found[-2]["train/lr"] == 0.0
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "step_56",
        "step_60",
    ]
    for line in (
        "random weights",
        "raw pixels",
        "trained, 10 epochs",
        str(folder),
        "ssl_dml evaluate",
    ):
        assert line in printed


def test_its_backbone_loads_with_one_call(finished):
    backbone = load(finished[0] / "backbone")
    assert backbone.inputs.size == 12
    assert backbone(torch.randn(2, 1, 12, 12)).shape == (2, backbone.feature_dim)


def test_its_first_step_shows_samples_and_views(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(finished[0] / "tensorboard"))
    board.Reload()
    views, *others = board.Tags()["images"]
    assert views == "views"
    assert {"neighbors", "isolated", "hubs"} <= {*others}
    assert "train/loss" in board.Tags()["scalars"]


def test_its_configuration_runs_it_again(finished, tmp_path):
    folder, _ = finished
    again = tmp_path / "again"
    run("pretrain", "--config", folder / "config.yaml", "--output_dir", again)
    assert digest(again) == digest(folder)


@pytest.mark.parametrize("evaluator", ["knn", "linear"])
def test_probes_work_from_the_run_folder_alone(finished, evaluator):
    folder, _ = finished
    extra = ["--knn.ks", "[5]"] if evaluator == "knn" else ["--linear.epochs", "3"]
    config = ROOT / f"configs/evaluate/{evaluator}.yaml"
    printed = run("evaluate", "--config", config, "--run", folder, *extra)
    results = json.loads((folder / f"{evaluator}.json").read_text())
    (folder / f"{evaluator}.json").unlink()
    assert "10 held-out training samples query 90" in printed
    if evaluator == "knn":
        assert results["knn_top1"] == rows(folder)[-1]["eval/knn_top1"]
    else:
        assert results["linear_top1"] > 0.6


def test_retrieval_is_among_test_images_of_other_classes(finished, tmp_path):
    folder, rng = tmp_path / "run", np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 1, 12, 12)).astype(np.uint8)
    for i, image in enumerate(images):
        path = tmp_path / "others" / "abc"[i % 3] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(path)
    shutil.copytree(finished[0] / "backbone", folder / "backbone")
    config = yaml.safe_load((finished[0] / "config.yaml").read_text())
    config["data"]["test_source"] = str(tmp_path / "others")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    recipe = ROOT / "configs/evaluate/retrieval.yaml"
    printed = run("evaluate", "--config", recipe, "--run", folder, "--retrieval.ks", "[1,5]")
    assert "each of 12 test samples searches among the others" in printed
    results = json.loads((folder / "retrieval.json").read_text())
    backbone = load(folder / "backbone")
    mean, std = backbone.inputs.mean[0], backbone.inputs.std[0]
    with torch.no_grad():
        rows = backbone((torch.from_numpy(images) / 255 - mean) / std).double().numpy()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    near = (rows @ rows.T - 9 * np.eye(12)).argmax(axis=1)
    assert results["recall_at_1"] == pytest.approx((near % 3 == np.arange(12) % 3).mean())
    assert set(results) >= {
        *("recall_at_1", "recall_at_5", "map_at_r", "r_precision", "queries", "left_out")
    }


def test_retrieval_without_test_images_is_refused(finished):
    recipe = ROOT / "configs/evaluate/retrieval.yaml"
    code, _, err = finish(start("evaluate", "--config", recipe, "--run", finished[0]))
    assert code == 2
    assert "has no test samples; data.test_source in" in err
    assert "Traceback" not in err


def test_a_run_in_chunks_says_what_batch_norm_does_and_goes_on_without(images, tmp_path):
    folder = tmp_path / "run"
    few = [*SMALL, "--train.steps", "4", "--train.encode_chunk", "10"]
    printed = run("pretrain", "--data.source", images, "--output_dir", folder, *few)
    assert printed.count("train.encode_chunk 10: the backbone's batch norm") == 1
    assert type(load(folder / "backbone")).__name__ == "TimmBackbone"
    on = ["--train.encode_chunk", "null", "--train.steps", "6"]
    printed = run("pretrain", "--output_dir", folder, "--resume", "true", *on)
    assert "going on from" in printed
    assert "batch norm" not in printed


def test_a_kill_and_a_resume_are_as_if_nothing_had_been(finished, images, tmp_path):
    folder = tmp_path / "run"
    command = ["--data.source", images, "--output_dir", folder, *SMALL]
    process = start("pretrain", *command)
    wait_for(folder / "checkpoints/step_8", process)
    process.kill()
    finish(process)
    assert not (folder / "backbone").exists()
    printed = run("pretrain", "--output_dir", folder, "--resume", "true")
    assert "going on from" in printed
    assert digest(folder) == digest(finished[0])


def state_of(folder):
    """Content and time of every file."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def refusal(err):
    """What a second run in the folder of another is told, which is one line."""
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.slow
def test_a_second_run_in_the_folder_of_a_live_one_touches_nothing(finished, images, tmp_path):
    folder = tmp_path / "run"
    command = ["--data.source", images, "--output_dir", folder, *SMALL]
    live = start("pretrain", *command)
    try:
        wait_for(folder / "checkpoints/step_4", live)
        live.send_signal(signal.SIGSTOP)  # it lives on, and takes its time
        before = state_of(folder)
        for second in (command, ["--output_dir", folder, "--resume", "true"]):
            code, _, err = finish(start("pretrain", *second))
            assert code == 2
            assert refusal(err) == (
                f"error: output_dir '{folder}' is in use by process {live.pid} on host "
                f"{platform.node()}; wait for it, or name another with --output_dir"
            )
            assert state_of(folder) == before
    finally:
        live.kill()
        finish(live)
    run("pretrain", "--output_dir", folder, "--resume", "true")
    assert digest(folder) == digest(finished[0])
    assert not (folder / LOCK).exists()


def test_two_processes_in_the_folder_of_another_run_both_end(images, tmp_path):
    folder = tmp_path / "run"
    lock = RunLock(folder)
    command = ["--data.source", images, "--output_dir", folder, *SMALL]
    code, _, err = finish(start("pretrain", *command, processes=2))
    assert code != 0
    errors = {line for line in err.splitlines() if line.startswith("error: ")}
    assert len(errors) == 1
    assert f"is in use by process {os.getpid()} on host" in errors.pop()
    assert [path.name for path in folder.iterdir()] == [LOCK]
    lock.release()
    assert not folder.exists()


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_leaves_cleanly(finished, images, tmp_path, number):
    folder = tmp_path / "run"
    process = start("pretrain", "--data.source", images, "--output_dir", folder, *SMALL)
    wait_for(folder / "checkpoints/step_4", process)
    process.send_signal(number)
    code, out, err = finish(process)
    assert code == 128 + number
    assert "and saved; to continue: --resume true" in out
    assert "Traceback" not in err
    run("pretrain", "--output_dir", folder, "--resume", "true")
    assert digest(folder) == digest(finished[0])


@pytest.mark.slow
def test_two_processes_resume_bit_for_bit_with_bank_and_z(images, npid_config, tmp_path):
    command = ["--config", npid_config, "--data.source", images, *SMALL]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run("pretrain", *command, "--output_dir", whole, processes=2)
    process = start("pretrain", *command, "--output_dir", stopped, processes=2)
    wait_for(stopped / "checkpoints/step_4", process)
    process.kill()
    finish(process)
    run("pretrain", "--output_dir", stopped, "--resume", "true", processes=2)
    assert digest(stopped) == digest(whole)
    printed = run("pretrain", "--output_dir", stopped, "--resume", "true", "--train.steps", "62")
    assert "made by 2 processes, with 1" in printed
    assert rows(stopped)[-1]["step"] == 62


def recipe(name):
    return ["--config", str(ROOT / "configs" / "pretrain" / f"{name}.yaml")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--train.stps", "3"], "--train.stps is not a key; did you mean train.steps"),
        (["--output_dir", "{finished}"], "exists already; name another with --output_dir"),
        (["--data.source", "{empty}"], "holds no image"),
        (["--data.batch_size", "256"], "from 1 to the number of samples, 100; got 256"),
        (
            ["--evaluation.k", "91"],
            "evaluation.k must be at most the number of gallery samples",
        ),
        (
            [*recipe("moco_v1"), "--method.init_args.queue_size", "8"],
            "queue_size must be at least the batch, 16; got 8",
        ),
        (
            [*recipe("supcon"), "--data.use_labels", "false"],
            "SupCon needs labels and the data have none: give them by sub-folders",
        ),
        (["--adapt.train", "norms"], "adapt.train is norms and would keep random weights"),
        (
            ["--init", "{finished}", "--adapt.train", "last:9"],
            "adapt.train is last:9, and resnet18 has 4 blocks after its first layers",
        ),
        (
            ["--init", "{finished}/checkpoints", "--adapt.train", "lora", "--adapt.lora_rank", "0"],
            "adapt.lora_rank must be at least 1, got 0",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    finished, images, tmp_path, arguments, words
):
    (tmp_path / "empty").mkdir()
    before = digest(finished[0])
    names = {"finished": finished[0], "empty": tmp_path / "empty"}
    command = ["--data.source", images, "--output_dir", tmp_path / "run", *SMALL]
    code, _, err = finish(
        start("pretrain", *command, *(argument.format(**names) for argument in arguments))
    )
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert words in line
    assert code in (1, 2)
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()
    assert digest(finished[0]) == before


@pytest.fixture(scope="module")
def adapting(finished, images):
    """How a run goes on from the backbone of another, with a warm-up and its last two blocks."""
    command = ["--data.source", images, "--init", finished[0], *SMALL, "--train.steps", "24"]
    command += ["--adapt", '{train: "last:2", layer_decay: 0.5, warmup_epochs: 1}']
    return [*command, "--train.ema", "0.5"]


@pytest.fixture(scope="module")
def adapted(adapting, tmp_path_factory):
    """A run that went on from another and was never stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("adapted") / "run"
    return folder, run("pretrain", *adapting, "--output_dir", folder, "--train.keep", "9")


def weights_of(place):
    """Tensors of a backbone, in a saved one or in a checkpoint."""
    if (place / "model.safetensors").exists():
        return load_file(place / "model.safetensors")
    model = torch.load(place / "state.pt", weights_only=True)["model"]
    return {n.removeprefix("backbone."): v for n, v in model.items() if n.startswith("backbone.")}


def moved_blocks(before, after):
    """First parts of the names of tensors that differ."""
    old, new = weights_of(before), weights_of(after)
    return {name.split(".")[1] for name in old if not torch.equal(old[name], new[name])}


def test_after_the_warm_up_the_last_blocks_alone_move(finished, adapted):
    start, folder = finished[0] / "backbone", adapted[0]
    assert moved_blocks(start, folder / "checkpoints/step_4") == set()  # an epoch has 6 steps
    assert moved_blocks(start, folder / "checkpoints/step_8") == {"layer3", "layer4"}
    assert moved_blocks(start, folder / "backbone") == {"layer3", "layer4"}


def test_an_average_of_the_weights_is_saved_and_probed(adapted):
    folder = adapted[0]
    saved, last = weights_of(folder / "backbone"), weights_of(folder / "checkpoints/step_24")
    state = torch.load(folder / "checkpoints/step_24/state.pt", weights_only=True)
    name = "network.layer4.0.conv1.weight"
    assert torch.equal(saved[name], state["average"][name])
    assert not torch.equal(saved[name], last[name])
    run("evaluate", "--run", folder, "--knn.ks", "[5]")
    results = json.loads((folder / "knn.json").read_text())
    assert results["knn_top1"] == rows(folder)[-1]["eval/knn_top1"]


def test_an_adapted_run_says_what_was_gained_and_keeps_its_best(adapted):
    folder, printed = adapted
    lines = printed.splitlines()
    named = [next(i for i, line in enumerate(lines) if line.startswith(name)) for name in (
        "start ", "raw pixels", "trained, 4 epochs", "gain over the start"
    )]  # fmt: skip
    assert named == list(range(named[0], named[0] + 4))
    kept = json.loads((folder / "queries.json").read_text())
    first, *_, last = [row for row in rows(folder) if "eval/knn_top1" in row]
    assert np.mean(kept["start"]) == first["eval/knn_top1"]
    assert np.mean(kept["trained"]) == last["eval/knn_top1"]
    probes = [row["eval/held_out_knn_top1"] for row in rows(folder) if "eval/knn_top1" in row]
    best = json.loads((folder / "best/backbone.json").read_text())
    step = [row["step"] for row in rows(folder) if "eval/knn_top1" in row][np.argmax(probes)]
    assert best["trained"]["steps"] == step
    run("evaluate", "--run", folder, "--model", "best", "--knn.ks", "[5]")
    assert (folder / "knn_best.json").exists()


def test_a_run_that_forgets_stops_and_its_best_is_the_start(adapting, clothes, finished, tmp_path):
    folder = tmp_path / "run"
    noise = ["--optimizer.init_args.lr", "30", "--adapt.train", "all", "--train.ema", "null"]
    guard = ["--guard", "{patience: 1, stop: true}", "--evaluation.every_epochs", "1"]
    guard += ["--train.steps", "60"]
    printed = run(
        "pretrain", *adapting, *clothes, *noise, *guard, "--output_dir", folder, processes=2
    )
    assert "the run stops, and best/ keeps step 0" in printed
    assert rows(folder)[-1]["step"] < 60
    assert moved_blocks(finished[0] / "backbone", folder / "best") == set()
    assert moved_blocks(finished[0] / "backbone", folder / "backbone")


@pytest.mark.slow
def test_without_labels_the_guard_says_what_moved(adapting, tmp_path):
    printed = run(
        "pretrain", *adapting, "--data.use_labels", "false", "--output_dir", tmp_path / "run"
    )
    assert "guard: step 24: RankMe" in printed
    assert not (tmp_path / "run/best").exists()


@pytest.mark.slow
@pytest.mark.parametrize("step", [4, 12])
def test_an_adapted_run_resumes_bit_for_bit_in_and_after_its_warm_up(adapted, tmp_path, step):
    folder = tmp_path / "run"
    shutil.copytree(adapted[0], folder)
    for path in folder.glob("checkpoints/step_*"):
        if int(path.name[5:]) > step:
            shutil.rmtree(path)
    run("pretrain", "--output_dir", folder, "--resume", "true")
    assert digest(folder, 24) == digest(adapted[0], 24)


def test_two_processes_adapt_with_a_bank(adapting, npid_config, finished, tmp_path):
    command = ["--config", npid_config, *adapting, "--train.steps", "8"]
    run("pretrain", *command, "--output_dir", tmp_path / "run", processes=2)
    moved = moved_blocks(finished[0] / "backbone", tmp_path / "run/backbone")
    assert moved == {"layer3", "layer4"}


@pytest.fixture(scope="module")
def with_adapters(adapting, tmp_path_factory):
    """A run that went on from another by adapters and was never stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("adapters") / "run"
    command = [*adapting, "--adapt.train", "lora", "--adapt.lora_rank", "2", "--train.keep", "9"]
    return folder, run("pretrain", *command, "--output_dir", folder)


@pytest.mark.slow
def test_adapters_are_merged_into_what_is_saved(finished, with_adapters):
    folder, printed = with_adapters
    assert "adapt.train is lora: " in printed
    start, saved = weights_of(finished[0] / "backbone"), weights_of(folder / "backbone")
    assert list(saved) == list(start) == list(weights_of(folder / "best"))
    moved = {name for name in start if not torch.equal(start[name], saved[name])}
    assert moved == {
        name for name in start if "conv" in name or name.endswith("downsample.0.weight")
    }
    warm, last = (weights_of(folder / f"checkpoints/step_{step}") for step in (4, 24))
    assert all(torch.equal(last[n], v) for n, v in warm.items() if ".lora_" not in n)
    assert not any(v.any() for n, v in warm.items() if ".lora_B." in n)  # an epoch has 6 steps
    assert load(folder / "backbone")(torch.zeros(2, 1, 12, 12)).isfinite().all()
    run("evaluate", "--run", folder, "--knn.ks", "[5]")
    results = json.loads((folder / "knn.json").read_text())
    assert results["knn_top1"] == pytest.approx(rows(folder)[-1]["eval/knn_top1"], abs=0.02)


@pytest.mark.slow
def test_adapters_resume_bit_for_bit(with_adapters, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(with_adapters[0], folder)
    for step in (16, 20, 24):
        shutil.rmtree(folder / f"checkpoints/step_{step}")
    run("pretrain", "--output_dir", folder, "--resume", "true")
    assert digest(folder, 24) == digest(with_adapters[0], 24)


@pytest.mark.slow
def test_two_processes_learn_by_adapters_with_a_bank(adapting, npid_config, finished, tmp_path):
    command = ["--config", npid_config, *adapting, "--train.steps", "8", "--adapt.train", "lora"]
    run("pretrain", *command, "--output_dir", tmp_path / "run", processes=2)
    moved = moved_blocks(finished[0] / "backbone", tmp_path / "run/backbone")
    assert moved == {"conv1", "layer1", "layer2", "layer3", "layer4"}


def test_a_run_without_a_backbone_is_named(tmp_path):
    code, _, err = finish(start("evaluate", "--run", tmp_path))
    assert code == 2
    assert err.startswith("error: --run")


def test_a_loss_that_is_not_finite_names_step_samples_and_checkpoint(images, tmp_path):
    folder = tmp_path / "run"
    optimizer = ["--optimizer.init_args.lr", "1e30", "--train.save_every", "1"]
    code, _, err = finish(
        start("pretrain", "--data.source", images, "--output_dir", folder, *SMALL, *optimizer)
    )
    assert code == 1
    line = next(line for line in err.splitlines() if line.startswith("error: "))
    assert "on samples" in line
    assert f"the last good checkpoint is {folder}" in line
    assert "Traceback" not in err
    told = json.loads((folder / "non_finite.json").read_text())
    assert len(told["samples"]) == len(told["names"]) == 16
    assert f"{told['samples'][0]} is {told['names'][0]!r}" in line
    assert told["names"][0].endswith(".png")


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    """240 embedded images with their classes, as a table; 60 more as queries."""
    root = tmp_path_factory.mktemp("clothes")
    table = pq.read_table(ROOT / "ssl_dml/data/samples/fashion_mini/train.parquet")
    pq.write_table(table.slice(0, 240), root / "train.parquet")
    pq.write_table(table.slice(240, 60), root / "test.parquet")
    return ["--data.source", root / "train.parquet", "--data.test_source", root / "test.parquet"]


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    """Half a second of noise, 40 times."""
    root = tmp_path_factory.mktemp("noises")
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 8)):
        for label in ("soft", "loud"):
            (root / split / label).mkdir(parents=True)
            for number in range(count // 2):
                audio = rng.normal(0, 0.1 if label == "soft" else 0.3, 16000).clip(-1, 1)
                soundfile.write(root / split / label / f"{number}.wav", audio, 16000)
    return ["--data.source", root]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CLOTHES, "cpc_sequences"])
def test_every_recipe_resumes_bit_for_bit(name, clothes, noises, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [*recipe(name), *(noises if name == "cpc_sequences" else clothes)]
    command += ["--data.batch_size", 16, "--train.steps", 16, "--train.save_every", 3]
    command += ["--train.log_every", 1, "--evaluation.k", 5]
    run("pretrain", *command, "--output_dir", whole)
    process = start("pretrain", *command, "--output_dir", killed)
    wait_for(killed / "checkpoints/step_3", process)
    process.kill()
    finish(process)
    assert not (killed / "backbone").exists()
    assert "going on from" in run("pretrain", "--output_dir", killed, "--resume", "true")
    print(f"\n{name}: never stopped {digest(whole, 16)}, resumed {digest(killed, 16)}")
    assert digest(killed, 16) == digest(whole, 16)


@pytest.mark.slow
def test_ten_kills_at_random_instants_change_nothing(images, npid_config, tmp_path):
    """Each attempt is killed after 3 to 7 seconds, wherever it is, and the next one goes on."""
    command = ["--config", npid_config, "--data.source", images, *SMALL]
    command += ["--train.steps", "2600", "--train.save_every", "7"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run("pretrain", *command, "--output_dir", whole)
    rng = np.random.default_rng(0)
    kills = []
    for attempt in range(10):
        process = start("pretrain", *command, "--output_dir", killed, "--resume", "true")
        time.sleep(rng.uniform(3, 7))
        assert process.poll() is None, f"attempt {attempt} ended by itself: {process.communicate()}"
        process.kill()
        finish(process)
        steps = [int(path.name[5:]) for path in killed.glob("checkpoints/step_*[0-9]")]
        kills.append(max(steps, default=0))
    run("pretrain", *command, "--output_dir", killed, "--resume", "true")
    print("killed after the checkpoints", kills)
    print("never stopped", digest(whole, 2600))
    print("killed 10 times", digest(killed, 2600))
    assert digest(killed, 2600) == digest(whole, 2600)
    assert len(set(kills)) > 3


@pytest.mark.slow
def test_the_speed_of_a_real_run_is_compared(images):
    printed = run("benchmark", "pretrain", "--data.source", images, "--data.batch_size", "16")
    assert "ratio" in printed


def test_what_suits_the_samples_is_chosen_said_and_written(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / "icons" / name).mkdir(parents=True)
        for number in range(12):
            image = Image.new("RGBA", (16, 16))
            image.paste(
                (20 * number, 255 if name == "a" else 0, 90, 255), (3, 3, 13, 6 + number // 2)
            )
            image.save(tmp_path / "icons" / name / f"{number}.png")
    given = {"steps": 1, "train": {"threads": 1}, "output_dir": tmp_path / "run"}
    given |= {"evaluation": {"k": 2}, "data": {"cache_dir": str(tmp_path / "cache")}}
    ssl_dml.pretrain(tmp_path / "icons", **given)
    said = capsys.readouterr().out
    assert "taken for drawings (3 channels; 100% on a flat ground" in said
    assert "--backbone EdgeBackbone {" in said
    assert "--data.batch_size 4: 24 samples are few" in said
    assert "--train.epochs" not in said
    assert "--evaluation.k" not in said
    written = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert written["backbone"]["class_path"] == "ssl_dml.backbones.EdgeBackbone"
    assert written["augment"]["class_path"] == "ssl_dml.augment.Color"
    assert written["augment"]["init_args"]["crops"]["flip"] == 0.0
    assert (written["data"]["batch_size"], written["evaluation"]["k"]) == (4, 2)
    assert written["train"]["steps"] == 1
    assert read_json(tmp_path / "run/backbone/backbone.json")["class_path"].endswith("EdgeBackbone")

    ssl_dml.pretrain(steps=2, resume=True, output_dir=tmp_path / "run", train={"threads": 1})
    assert "taken for" not in capsys.readouterr().out  # its own configuration says it
    given |= {"config": "moco_v2", "output_dir": tmp_path / "moco", "data": {"batch_size": 16}}
    ssl_dml.pretrain(tmp_path / "icons", **given)
    assert "taken for" not in capsys.readouterr().out  # nor of a configuration that is named
