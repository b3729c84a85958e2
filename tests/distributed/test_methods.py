"""W processes equal one on the whole batch: loss, every gradient, and the state after 3 steps."""

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
    "cpc",
    "cpc_sequence",
    "cpc_images",
]


@pytest.mark.parametrize(
    ("name", "world"),
    [(name, 2) for name in NAMES]
    + [pytest.param(name, 4, marks=pytest.mark.slow) for name in NAMES],
)
def test_processes_equal_one(name, world, tmp_path, run_workers):
    def steps(processes):
        run_workers(WORKER, processes, name, tmp_path)
        return [torch.load(tmp_path / f"{processes}_{rank}.pt") for rank in range(processes)]

    (alone,) = steps(1)
    for found in steps(world):
        assert_close(found["losses"], alone["losses"], rtol=1e-9, atol=1e-10)
        assert_close(found["gradients"], alone["gradients"], rtol=1e-7, atol=1e-10)
        assert_close(found["state"], alone["state"], rtol=1e-7, atol=1e-10, equal_nan=True)
    assert len({loss.item() for loss in alone["losses"]}) == len(alone["losses"])
