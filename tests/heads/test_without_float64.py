from pathlib import Path

import pytest
import torch
from launching import completed

TESTS = Path(__file__).parents[1]


@pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot have a device in Python",
)
def test_every_head_trains_on_a_device_without_float64():
    """In a process of its own, whose accelerator is a pretend one."""
    done = completed(TESTS / "heads/without_float64.py")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert int(done.stdout.split()[0]) >= 29
