"""How often the host waits for the device in a steady step, by file and line, on a pretend one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launching import ROOT

WORKER = Path(__file__).parent / "one_step.py"
NEVER = [
    "SimCLR", "DCL", "HCL", "NNCLR", "MoCo", "MoCo symmetric", "MoCo v3", "NPID", "PIRL", "CPC",
    "CPC on images", "multi-crop", "Color with all", "Gray with all", "ManyChannel with all",
]  # fmt: skip
# The labels are checked, as they are by every head.
ONCE = [
    "ArcFace", "ArcFace clip", "CosFace", "SphereFace", "AdaCos", "AdaFace", "CurricularFace",
    "MagFace", "ArcFace sharded", "contrastive", "multi-similarity", "circle", "lifted",
    "proxy NCA", "proxy anchor", "soft triple", "SupCon",
]  # fmt: skip
TWICE = ["ArcFace sampled", "N-pair", "center"]
# To be lowered: lists of triplets have a length of their own.
MORE = {
    "triplet, all": 3, "triplet, hardest": 3, "triplet, FaceNet": 4, "triplet, semi-hard": 4,
}  # fmt: skip
BUDGET = dict.fromkeys(NEVER, 0) | dict.fromkeys(ONCE, 1) | dict.fromkeys(TWICE, 2) | MORE

pytestmark = pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot have a device in Python",
)


FEW = ["SimCLR", "MoCo", "ArcFace", "ArcFace sampled", "contrastive"]


@pytest.fixture
def count(tmp_path):
    """Waits and operations of one step of cases."""

    def run(*names):
        file = tmp_path / "steps.json"
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        done = subprocess.run(
            [sys.executable, WORKER, file, *names],
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(file.read_text())

    return run


def check(steps):
    """The host waits no more often than it may."""
    over = {
        name: step["waits"]
        for name, step in steps.items()
        if sum(step["waits"].values()) > BUDGET[name]
    }
    assert not over


@pytest.mark.slow
def test_a_step_of_a_method_never_waits_and_one_with_labels_once(count):
    check(count(*FEW))


@pytest.mark.slow
def test_every_method_recipe_and_head_keeps_its_budget(count):
    steps = count()
    assert set(steps) == set(BUDGET)
    check(steps)
    # An encoder that follows another costs little beside it.
    assert steps["MoCo v3"]["operations"] < 2.2 * steps["SimCLR"]["operations"]


def test_a_wait_is_found():
    code = (
        "import pretend, torch; pretend.install(); device = torch.device(pretend.NAME, 0)\n"
        "row = torch.arange(3, device=device)\n"
        "with pretend.counted() as found:\n"
        "    row.sum().item(), row.nonzero(), row[row > 1], row.cpu(), row.tolist()\n"
        "    torch.tensor([1.0], device=device), row + 1, row.to('cpu', non_blocking=True)\n"
        "    print(sum(found.waits.values()), found.operations > 6)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["6", "True"]
