"""Two processes of a pretend accelerator, whose process group refuses tensors of the host."""

from pathlib import Path

import numpy as np
import pytest
import torch
from launching import rows
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
    """A script on both processes; the run folder that it leaves."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "run"

    def run(script, *arguments):
        run_workers(WORKER, 2, tmp_path / "store", script, *arguments, "--output_dir", folder)
        return folder

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
