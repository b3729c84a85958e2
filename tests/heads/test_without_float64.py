import subprocess
import sys
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parents[1]


@pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot have a device in Python",
)
def test_every_head_trains_on_a_device_without_float64(monkeypatch):
    """In a process of its own, whose accelerator is a pretend one."""
    worker = TESTS / "heads/without_float64.py"
    monkeypatch.setenv("PYTHONPATH", f"{TESTS.parent}:{TESTS}")
    done = subprocess.run([sys.executable, worker], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert int(done.stdout.split()[0]) >= 29
