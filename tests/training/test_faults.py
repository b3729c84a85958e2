"""A disk that fails, or a kill, at every change that a run makes to its files, then a resume."""

import itertools
import re
import shutil

import numpy as np
import pytest
import torch
from faults import KINDS, Disk, forked
from launching import digest
from PIL import Image

from ssl_dml.commands import pretrain

SMALL = {
    "data.batch_size": 8, "data.image_size": 8, "data.memory_fraction": 0.0, "train.steps": 3,
    "train.warmup_epochs": 0, "train.log_every": 1, "train.save_every": 2, "train.keep": 1,
    "train.threads": 1, "evaluation.k": 3, "seed": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for label in "ab":
        (root / label).mkdir()
        for i in range(8):
            array = rng.integers(0, 255, (8, 8)).astype(np.uint8)
            Image.fromarray(array).save(root / label / f"{i}.png")
    return root


def arguments(images, folder):
    keys = {"data.source": images, "data.cache_dir": folder / "cache", "output_dir": folder / "run"}
    return [f"--{key}={value}" for key, value in {**SMALL, **keys}.items()]


def run(images, folder, disk=None):
    """Go on with the run in a folder, on a disk: its exit code, and what it wrote."""
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    log = folder / "log"
    code = forked(pretrain.main, [*arguments(images, folder), "--resume=true"], log, disk)
    return code, log.read_text()


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    code, said = run(images, folder)
    assert code == 0, said
    return folder


def names(folder):
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {name for name in found if "tensorboard/" not in name}


def disturb(images, undisturbed, folder, at, kind):
    """Whether the run came to that change; what it did then, and that a resume mends it."""
    code, said = run(images, folder, Disk(at, kind))
    assert "Traceback" not in said, said
    if kind == "kill" and code == 0:
        return False
    assert code in {"kill": (-9,), "slow": (0,)}.get(kind, (0, 1)), said
    assert (code == 1) == bool(re.search(r"^error: [^\n]+$", said, re.MULTILINE)), said
    again, said = run(images, folder)
    assert again == 0, said
    assert digest(folder / "run", 3) == digest(undisturbed / "run", 3)
    assert names(folder) == names(undisturbed)
    return True


@pytest.mark.parametrize(("at", "kind"), [(45, "full"), (66, "kill")])
def test_a_resume_after_a_fault_is_as_if_nothing_had_been(images, undisturbed, tmp_path, at, kind):
    assert disturb(images, undisturbed, tmp_path / "x", at, kind)


@pytest.mark.slow
def test_every_fault_at_every_change(images, undisturbed, tmp_path):
    for at in itertools.count(1):
        for kind in KINDS:
            if not disturb(images, undisturbed, tmp_path / f"{at}_{kind}", at, kind):
                print(f"\neach of {', '.join(KINDS)} at each of {at - 1} changes")
                assert at > 60
                return
            shutil.rmtree(tmp_path / f"{at}_{kind}")
