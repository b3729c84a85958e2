"""W processes equal one on the whole batch: loss, every gradient, and the state after 3 steps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

WORKER = Path(__file__).parent / "method_steps.py"
NAMES = [
    "simclr",
    "simclr_four_views",
    "npid",
    "npid_average_proximal",
    "npid_full_softmax",
    "npid_given_normaliser",
]


def run_steps(name, world, folder):
    """What every process of a world wrote."""
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), name, str(folder)],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert not any(worker.returncode for worker in workers), "\n".join(errors)
    return [torch.load(folder / f"{world}_{rank}.pt") for rank in range(world)]


@pytest.mark.parametrize(
    ("name", "world"),
    [(name, 2) for name in NAMES]
    + [pytest.param(name, 4, marks=pytest.mark.slow) for name in NAMES],
)
def test_processes_equal_one(name, world, tmp_path):
    (alone,) = run_steps(name, 1, tmp_path)
    for found in run_steps(name, world, tmp_path):
        assert_close(found["losses"], alone["losses"], rtol=1e-9, atol=1e-10)
        assert_close(found["gradients"], alone["gradients"], rtol=1e-7, atol=1e-10)
        assert_close(found["state"], alone["state"], rtol=1e-7, atol=1e-10, equal_nan=True)
    assert len({loss.item() for loss in alone["losses"]}) == len(alone["losses"])
