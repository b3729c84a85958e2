"""What a batch of views launches on a device, and that the host never waits for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from launching import ROOT

WORKER = Path(__file__).parent / "launches.py"
# All views of one size together; two sizes cost twice.
BUDGET = {
    "SimCLR": 26,
    "SimCLR 224": 36,
    "long images": 36,
    "solarize": 36,
    "gray": 42,
    "multi-crop": 52,
}

pytestmark = pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot have a device in Python",
)


def test_views_never_wait_and_launch_little():
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, WORKER],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert not {name: cost["waits"] for name, cost in found.items() if cost["waits"]}
    launches = {name: cost["launches"] for name, cost in found.items()}
    assert all(launches[name] <= most for name, most in BUDGET.items()), launches
