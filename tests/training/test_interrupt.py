import os
import pty
import signal
import time

import pytest
import torch

from ssl_dml.training.interrupt import Interrupt

CPU = torch.device("cpu")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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


def test_a_signal_that_is_ignored_stays_so():
    """As under nohup."""
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.wanted(1, CPU)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


def test_a_terminal_that_hangs_up_is_not_written_to():
    """A child whose output is a terminal: it is closed, and the child goes on."""
    child, terminal = pty.fork()
    if child == 0:
        try:
            with Interrupt() as interrupt:
                os.write(1, b"ready")
                while not interrupt.wanted(1, CPU):
                    time.sleep(0.01)
                os.write(1, b"x" * 10**5)
                os._exit(interrupt.exit_code)
        finally:
            os._exit(1)
    assert os.read(terminal, 5) == b"ready"
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGHUP
