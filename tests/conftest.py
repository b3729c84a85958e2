"""What several tests fraction."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ssl_dml.types import ImageSpec, SequenceSpec

# Two threads suit the machines that run the tests; more only fight.
torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def gray():
    return ImageSpec(channels=1, size=8, mean=(0.5,), std=(0.25,))


@pytest.fixture
def color():
    return ImageSpec(channels=3, size=16, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))


@pytest.fixture
def audio():
    return SequenceSpec(channels=1, length=400, mean=(0.0,), std=(0.25,), sampling_rate=100)


@pytest.fixture(scope="session")
def run_workers():
    """Run a script once for every rank of a world, and fail with what any of them wrote."""

    root = Path(__file__).parents[1]  # the package itself, and what is shared among tests
    shared = {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}

    def run(script, world, *arguments):
        workers = [
            subprocess.Popen(
                [sys.executable, str(script), *map(str, arguments)],
                env={**os.environ, **shared, "RANK": str(rank), "WORLD_SIZE": str(world)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]
        # One that fails leaves the others waiting for it.
        for _ in range(6000):
            states = [worker.poll() for worker in workers]
            if any(states) or None not in states:
                break
            time.sleep(0.05)
        failed = any(states) or None in states
        for worker in workers if failed else []:
            worker.kill()
        errors = [worker.communicate(timeout=60)[1] for worker in workers]
        assert not failed, "\n".join(errors)

    return run
