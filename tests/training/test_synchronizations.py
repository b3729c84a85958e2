"""How often the host waits for the device in a steady step, by file and line, on a pretend one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launching import SHARED, Command

WORKER = Path(__file__).parent / "one_step.py"
NEVER = [
    "SimCLR", "DCL", "HCL", "NNCLR", "MoCo", "MoCo symmetric", "MoCo v3", "MoCo v2, ResNet-50",
    "NPID", "PIRL", "CPC", "CPC on images", "multi-crop", "Color with all", "Gray with all",
    "ManyChannel with all",
]  # fmt: skip
# The labels are checked, as they are by every head.
ONCE = [
    "ArcFace", "ArcFace clip", "CosFace", "SphereFace", "AdaCos", "AdaFace", "CurricularFace",
    "MagFace", "ArcFace sharded", "contrastive", "multi-similarity", "circle", "lifted",
    "triplet, hardest", "NPID split", "PIRL split", "proxy NCA", "proxy anchor", "soft triple",
    "SupCon",
]  # fmt: skip
# And lists of pairs, of classes or of samples have a length of their own.
TWICE = [
    "ArcFace sampled", "N-pair", "center", "triplet, all", "triplet, soft", "triplet, mined all",
    "triplet, FaceNet", "triplet, semi-hard", "triplet, hard", "triplet, easy", "triplet, weighted",
    "multi-similarity, mined", "smooth AP", "smooth AP, hard", "facility location",
]  # fmt: skip
BUDGET = dict.fromkeys(NEVER, 0) | dict.fromkeys(ONCE, 1) | dict.fromkeys(TWICE, 2)
# On two processes; of a bank that is split, how many rows go where, and which are one's own.
TOGETHER = {
    "SimCLR": 0, "NNCLR": 0, "MoCo": 0, "MoCo v3": 0, "NPID": 0, "PIRL": 0, "NPID split": 2,
    "PIRL split": 2, "ArcFace": 1, "ArcFace sampled": 2, "ArcFace sharded": 1,
    "triplet, FaceNet": 2,
}  # fmt: skip
# Launches of a step apart from its augmentation, as measured; they may not grow.
LAUNCHES = {
    "SimCLR": 206, "DCL": 216, "HCL": 275, "NNCLR": 461, "MoCo": 513, "MoCo symmetric": 1024,
    "MoCo v3": 567, "SupCon": 236, "MoCo v2, ResNet-50": 1743, "NPID": 251, "NPID split": 257,
    "PIRL": 532, "PIRL split": 538, "Color with all": 207, "Gray with all": 206,
    "ManyChannel with all": 207, "multi-crop": 350, "CPC": 277, "CPC on images": 307,
    "ArcFace": 222, "ArcFace clip": 233, "CosFace": 202, "SphereFace": 260, "AdaCos": 210,
    "AdaFace": 250, "CurricularFace": 260, "MagFace": 270, "ArcFace sampled": 274,
    "ArcFace sharded": 251, "triplet, FaceNet": 327, "triplet, semi-hard": 366,
    "triplet, hardest": 279, "triplet, hard": 321, "triplet, easy": 323, "triplet, weighted": 409,
    "triplet, mined all": 277, "triplet, soft": 250, "triplet, all": 252, "contrastive": 226,
    "multi-similarity": 248, "multi-similarity, mined": 339, "circle": 250, "lifted": 264,
    "smooth AP": 264, "smooth AP, hard": 352, "facility location": 207, "N-pair": 217,
    "proxy NCA": 169, "proxy anchor": 195, "soft triple": 223, "center": 150,
}  # fmt: skip

pytestmark = pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot have a device in Python",
)


FEW = ["SimCLR", "MoCo", "ArcFace", "ArcFace sampled", "triplet, FaceNet"]


@pytest.fixture
def count(tmp_path):
    """Waits and launches of one step of cases, on one process or several."""

    def run(*names, processes=1):
        file = tmp_path / "steps.json"
        store = {"STORE": str(tmp_path / "store")} if processes > 1 else {}
        command = Command(WORKER, file, *names, processes=processes * bool(store), env=store)
        errors = command.communicate(timeout=900)[1]
        assert command.returncode == 0, errors[-2000:]
        return json.loads(file.read_text())

    return run


def check(steps, budget):
    """The host waits no more often than it may; a wait is named by file and line."""
    over = {
        name: step["waits"]
        for name, step in steps.items()
        if sum(step["waits"].values()) > budget[name]
    }
    assert not over


@pytest.mark.slow
def test_a_step_of_a_method_never_waits_and_one_with_labels_once(count):
    check(count(*FEW), BUDGET)


@pytest.mark.slow
def test_every_method_recipe_and_head_keeps_its_budget(count):
    steps = count()
    assert set(steps) == set(BUDGET)
    check(steps, BUDGET)
    launched = {name: step["launches"] for name, step in steps.items()}
    assert not {name: n for name, n in launched.items() if n > LAUNCHES[name]}


@pytest.mark.slow
def test_several_processes_wait_for_a_split_bank_alone(count):
    check(count(*TOGETHER, processes=2), TOGETHER)


def test_a_wait_and_a_launch_are_found():
    code = (
        "import pretend, torch; pretend.install(); device = torch.device(pretend.NAME, 0)\n"
        "row = torch.arange(3, device=device)\n"
        "with pretend.counted() as found:\n"
        "    row.sum().item(), row.nonzero(), row[row > 1], row.cpu(), row.tolist()\n"
        "    torch.tensor([1.0], device=device), row + 1, row.to('cpu', non_blocking=True)\n"
        "    print(sum(found.waits.values()), found.launches)\n"
        "with pretend.counted() as found:\n"
        "    row.view(1, 3).T.expand(3, 2).detach(), torch.empty(2, device=device), row.cpu()\n"
        "    print(found.launches)\n"
        "with pretend.counted() as found:\n"
        "    row.view(1, 3).add_(1), torch.zeros(2, device=device)\n"
        "    print(found.launches)"
    )
    assert printed(code) == ["6", "6", "0", "2"]


def test_launches_of_a_tile():
    """Forward and backward; 29 of a tile, and 50 of one that also serves as its mirror image."""
    code = (
        "import pretend, torch; pretend.install()\n"
        "from ssl_dml.losses import log_sum_exp\n"
        "def launches(tiles, shared):\n"
        "    rows = torch.randn(4 * tiles, 8).to(pretend.NAME).requires_grad_()\n"
        "    keys = rows if shared else torch.randn(4 * tiles, 8).to(pretend.NAME)\n"
        "    left_out = torch.arange(4 * tiles)[:, None] if shared else None\n"
        "    with pretend.counted() as found:\n"
        "        total = log_sum_exp(rows, keys, scale=2.0, excluded=left_out, tile_size=4)\n"
        "        total.sum().backward()\n"
        "    assert not found.waits, found.waits\n"
        "    return found.launches\n"
        "plain = launches(8, False) - launches(4, False)\n"
        "shared = launches(8, True) - launches(4, True)\n"
        "print(plain / (64 - 16), shared / (36 - 10))"
    )
    plain, shared = map(float, printed(code))
    assert plain <= 29 / 2
    assert shared <= 50 / 2


def printed(code):
    """Words that a process of its own prints, in which the pretend device is the accelerator."""
    end = "\nimport os, sys; sys.stdout.flush(); os._exit(0)"  # a thread of backward may be alive
    command = [sys.executable, "-c", code + end]
    env = os.environ | {"PYTHONPATH": SHARED}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()
