"""What several tests share."""

import os
import signal

# Threads that wait must not spin: on cores that others use, that costs a small step 30 times over.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch
from launching import Command

from ssl_dml.data import DataConfig, load_train
from ssl_dml.types import ImageSpec, SequenceSpec

# Two threads suit the machines that run the tests; more only fight.
torch.set_num_threads(min(2, os.cpu_count() or 1))

# What starts the tests in the background may ignore signals, which a run then leaves ignored.
for number, usual in {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}.items():
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)


def pytest_addoption(parser):
    parser.addoption("--fuzz-seconds", type=float, default=60, help="of each slow fuzz test")
    parser.addoption("--fuzz-from", type=int, default=100, help="number of its first mutant")


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
def clothes():
    """The sample of the toolkit, 10,000 gray images of 10 classes, decoded once for all tests."""
    return load_train(DataConfig(source="fashion_mini"))


@pytest.fixture(scope="session")
def run_workers():
    """Run a script once for every rank of a world, and fail with what any of them wrote."""

    def run(script, world, *arguments):
        command = Command(script, *arguments, processes=world)
        errors = command.communicate(timeout=300)[1]
        assert command.returncode == 0, errors

    return run
