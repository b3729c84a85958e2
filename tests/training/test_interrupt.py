import os
import signal

import pytest
import torch

from ssl_dml.training.interrupt import Interrupt

CPU = torch.device("cpu")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_and_a_later_one_acts(number, monkeypatch):
    former = signal.getsignal(number)
    acted = []
    signal.signal(number, lambda *_: acted.append(True))
    try:
        with Interrupt() as interrupt:
            assert not interrupt.wanted(1, CPU)
            os.kill(os.getpid(), number)
            assert interrupt.wanted(2, CPU)
            assert interrupt.exit_code == 128 + number
            assert not acted
            os.kill(os.getpid(), number)
            assert not acted, "the launcher repeats what the terminal has sent"
            monkeypatch.setattr("ssl_dml.training.interrupt.PATIENCE_S", -1.0)
            os.kill(os.getpid(), number)
            assert acted
    finally:
        signal.signal(number, former)


def test_handlers_are_put_back():
    former = signal.getsignal(signal.SIGTERM)
    with Interrupt():
        assert signal.getsignal(signal.SIGTERM) is not former
    assert signal.getsignal(signal.SIGTERM) is former


def test_the_end_of_the_launcher_counts_as_a_signal(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    with Interrupt() as interrupt:
        assert not interrupt.wanted(1, CPU)
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert interrupt.wanted(2, CPU)


def test_without_a_launcher_a_new_parent_means_nothing(monkeypatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    with Interrupt() as interrupt:
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert not interrupt.wanted(2, CPU)
