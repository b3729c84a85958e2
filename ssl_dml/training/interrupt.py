"""Ctrl-C, SIGTERM and SIGHUP ask a run to stop; the loop stops when its state is whole."""

import os
import signal
import time
from types import FrameType
from typing import final

import torch

from ssl_dml.distributed import any_rank, is_distributed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGREE_EVERY = 10
PATIENCE_S = 2.0


@final
class Interrupt:
    """Context in which a signal is remembered; one more, 2 seconds later, acts as usual.

    A launcher of several processes passes on what a terminal has sent to all of them already, so
    a second signal close to the first says nothing new.

    Ending the launcher ends the run too: a process whose parent has gone takes that as a signal.

    A signal that is ignored, as ``nohup`` ignores SIGHUP, stays so. After SIGHUP nothing more is
    written to a terminal, which is gone.
    """

    def __init__(self) -> None:
        self.received = 0
        self.since = 0.0
        self.parent = os.getppid() if "ACCELERATE_MIXED_PRECISION" in os.environ else None

    def __enter__(self) -> "Interrupt":
        heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        self._former = {number: signal.signal(number, self._note) for number in heeded}
        self._terminals = [number for number in (1, 2) if _is_terminal(number)]
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal ended."""
        return 128 + (self.received or signal.SIGTERM)

    def wanted(self, step: int, device: torch.device) -> bool:
        """Whether any process was asked to stop; several agree on it every 10 steps."""
        orphaned = self.parent is not None and os.getppid() != self.parent
        asked = bool(self.received) or orphaned
        if not is_distributed():
            return asked
        return step % AGREE_EVERY == 0 and any_rank(asked, device)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            for terminal in self._terminals:
                os.dup2(os.open(os.devnull, os.O_WRONLY), terminal)
            self._terminals = []
        if not self.received:
            self.received, self.since = number, time.monotonic()
        elif time.monotonic() - self.since > PATIENCE_S:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
