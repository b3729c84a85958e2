"""Whole scripts on a pretend accelerator: on one process without float64, and on two.

The process group of two refuses tensors of the host, as NCCL does.
"""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from launching import digest, rows
from PIL import Image

WORKER = Path(__file__).parent / "on_device.py"
FEW = ["--data.batch_size", "4", "--train.steps", "2", "--train.log_every", "1"]
FEW += ["--train.precision", "no"]  # the device has no autocast

pytestmark = pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot have a device in Python",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Four images of each of ten classes."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for label in range(10):
        (root / f"class_{label}").mkdir()
        for i in range(4):
            array = rng.integers(20 * label, 20 * label + 50, (12, 12)).astype(np.uint8)
            Image.fromarray(array).save(root / f"class_{label}/{i}.png")
    return ["--data.source", root]


@pytest.fixture
def run_script(run_workers, tmp_path, monkeypatch):
    """A script on both processes, or on one; the run folder that it leaves."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def run(script, *arguments, processes=2, name="run"):
        folder, store = tmp_path / name, tmp_path / f"store_{next(numbers)}"
        where = [] if script == "evaluate" else ["--output_dir", folder]
        run_workers(WORKER, processes, store, script, *arguments, *where)
        return folder

    numbers = itertools.count()

    return run


def test_a_labeled_pretraining_with_its_bank_in_main_memory(images, run_script):
    storage = ["--method.init_args.storage", "{device: cpu, sharded: true}"]
    few = [*FEW, "--method.init_args.negatives", "8", "--evaluation.k", "3"]
    folder = run_script("pretrain", "--config", "configs/pretrain/npid.yaml", *images, *few,
                        *storage)  # fmt: skip
    first, last = (
        {key for row in rows(folder) if row["step"] == step for key in row} for step in (0, 2)
    )
    probed = {"eval/knn_top1", "eval/bank_knn_top1", "eval/rankme", "eval/alignment"}
    assert probed | {"eval/raw_pixels_knn_top1"} <= first
    assert probed | {"train/loss", "train/grad_norm"} <= last
    assert (folder / "backbone/model.safetensors").exists()


def test_class_weights_that_are_split_and_alone_train(images, run_script):
    frozen = ["--neck", "none", "--embedding_dim", "null"]
    frozen += ["--finetune.freeze_epochs", "100", "--head.init_args.sharded", "true"]
    folder = run_script("finetune", "--config", "configs/finetune/arcface.yaml", *images, *FEW,
                        *frozen, "--validation.fraction", "0.3")  # fmt: skip
    norms = [row["train/grad_norm"] for row in rows(folder) if "train/grad_norm" in row]
    assert len(norms) == 2
    assert min(norms) > 0


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Four recordings of each of ten classes."""
    root, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for label in range(10):
        (root / f"class_{label}").mkdir()
        for i in range(4):
            wave = np.sin(np.arange(3200) * (0.05 + 0.02 * label)) + rng.normal(0, 0.1, 3200)
            soundfile.write(root / f"class_{label}/{i}.wav", wave * 0.3, 16_000)
    return ["--data.source", root]


EVALUATORS = {
    "knn": ["--knn.ks", "[3]"],
    "linear": [],
    "retrieval": ["--retrieval.ks", "[1]"],
    "verification": [],
}
SMALL = ["--backbone.init_args.width", "0.125"]
QUICK = ["--evaluation.k", "3"]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_images_from_pretraining_to_every_evaluation(images, run_script, processes):
    """And a run that is resumed is the one that was never stopped."""
    many = {"processes": processes}
    own = ["--config", "configs/pretrain/default.yaml", *images, *FEW, *SMALL, *QUICK]
    longer = [
        *own,
        "--train.steps",
        "4",
        "--train.save_every",
        "2",
        "--data.test_source",
        images[1],
    ]
    whole = run_script("pretrain", *longer, **many, name="whole")
    shutil.copytree(whole, resumed := whole.with_name("resumed"))
    shutil.rmtree(resumed / "checkpoints/step_4")
    shutil.rmtree(resumed / "backbone")
    kept = [row for row in rows(resumed) if row["step"] <= 2]
    (resumed / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    run_script("pretrain", *longer, "--resume", "true", **many, name="resumed")
    assert digest(resumed, step=4) == digest(whole, step=4)
    tuned = run_script(
        "finetune", "--config", "configs/finetune/arcface.yaml", *images, *FEW, "--init", whole,
        "--validation.fraction", "0.3", **many, name="tuned",
    )  # fmt: skip
    assert (tuned / "backbone/model.safetensors").exists()
    for evaluator, options in EVALUATORS.items():
        config = f"configs/evaluate/{evaluator}.yaml"
        run_script("evaluate", "--config", config, "--run", whole, *options, **many)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_sounds_are_trained_on_and_evaluated(sounds, run_script, processes):
    many = {"processes": processes}
    heard = ["--data.sequences.length", "3200", "--augment.init_args.window", "3000"]
    small = ["--backbone.init_args.width", "8", "--backbone.init_args.context_dim", "8"]
    # The device has no GRU.
    small += ["--backbone.init_args.context", "transformer", "--backbone.init_args.heads", "2"]
    folder = run_script(
        "pretrain", "--config", "configs/pretrain/cpc_sequences.yaml", *sounds, *FEW, *heard,
        *small, *QUICK, "--method.init_args.horizon", "2", **many,
    )  # fmt: skip
    assert (folder / "backbone/model.safetensors").exists()
    run_script("evaluate", "--config", "configs/evaluate/knn.yaml", "--run", folder,
               *EVALUATORS["knn"], **many)  # fmt: skip
