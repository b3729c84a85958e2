"""A loader whose workers leave signals to the run that has started them."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, final

from torch.utils.data import DataLoader

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@final
class Loader(DataLoader[Any]):
    """A ``DataLoader`` whose workers are not reached by what is sent to all processes of a run.

    So Slurm, ``timeout`` and a terminal that is closed send it. A worker that ended by itself
    would end the run before it has saved. Give it :func:`end_with_the_run` as
    ``worker_init_fn``.
    """

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Start the workers, which inherit that signals are blocked, also in all their threads."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_the_run(_: int) -> None:
    """Let a worker end when the process that has started it says so, and nobody else."""
    threading.Thread(target=_wait_for_the_run, daemon=True).start()


def _wait_for_the_run() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
