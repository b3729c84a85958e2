"""W processes equal one on the whole batch, and a resumed run one that was never stopped."""

import runpy
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

WORKER = Path(__file__).parent / "method_steps.py"
NAMES = list(runpy.run_path(str(WORKER))["METHODS"])


@pytest.fixture(scope="module")
def steps_of(run_workers, tmp_path_factory):
    """What each process of a world found, all methods being run together the first time."""
    folder, done = tmp_path_factory.mktemp("steps"), set()

    def load(name, world):
        if world not in done:
            done.add(world)  # also if it fails, so that every test fails at once
            run_workers(WORKER, world, folder)
        return [torch.load(folder / f"{name}_{world}_{rank}.pt") for rank in range(world)]

    return load


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NAMES)
def test_processes_equal_one(name, world, steps_of):
    (alone,) = steps_of(name, 1)
    processes = steps_of(name, world)
    for found in processes:
        assert_close(found["losses"], alone["losses"], rtol=1e-9, atol=1e-10)
        assert_close(found["gradients"], alone["gradients"], rtol=1e-7, atol=1e-10)
        assert_close(found["state"], alone["state"], rtol=1e-7, atol=1e-10, equal_nan=True)
    print(f"{name:24} 1 vs {world}: {_difference(processes[0], alone)}")
    assert len({loss.item() for loss in alone["losses"]}) == len(alone["losses"])


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_resumed_equals_never_stopped(name, world, steps_of):
    for found in steps_of(name, world):
        resumed = found["resumed"]
        exact = {"rtol": 0, "atol": 0, "equal_nan": True}
        assert_close(resumed["losses"], found["losses"][1:], **exact)
        assert_close(resumed["state"], found["state"], **exact)


def _difference(found, alone):
    """The largest differences, in words."""

    def largest(first, second):
        pairs = zip(first, second, strict=True)
        return max(((a.double() - b.double()).abs().nan_to_num().max().item() for a, b in pairs))

    gradients = [
        largest(a.values(), b.values())
        for a, b in zip(found["gradients"], alone["gradients"], strict=True)
    ]
    state = largest(found["state"].values(), alone["state"].values())
    return (
        f"largest difference in loss {largest(found['losses'], alone['losses']):.1e}, "
        f"any gradient {max(gradients):.1e}, state {state:.1e}"
    )
