"""How many processes decode on demand, and whether their batches fit in shared memory."""

import shutil
from pathlib import Path

from ssl_dml.cores import own_cores
from ssl_dml.types import ConfigError

SHARED = Path("/dev/shm")
AHEAD = 2  # batches that each worker has ready, beside the one it is at and the one in use
HEADROOM = 0.9


def shared_bytes(workers: int, batch_bytes: int) -> int:
    """Most bytes of shared memory that batches take.

    >>> shared_bytes(4, 100)
    1000
    """
    return (workers * AHEAD + AHEAD) * batch_bytes


def choose_workers(wanted: int | None, batch_bytes: int) -> tuple[int, str]:
    """Number of workers, and in words why there are so many.

    Args:
        wanted: As configured; None for one on each core, or as many as shared memory takes.
        batch_bytes: Size of a batch.

    Raises:
        ConfigError: With the key, what is needed and what is free, if batches do not fit.
    """
    cores, free = own_cores(), shared_memory()
    most = int(HEADROOM * free / batch_bytes - AHEAD) // AHEAD if free is not None else cores
    workers = wanted or max(1, min(cores, most))
    if free is not None and workers > most:
        needed = shared_bytes(workers, batch_bytes)
        raise ConfigError(
            f"data.workers: batches of {workers} take {needed / 1e6:,.0f} MB of {SHARED}, and "
            f"{free / 1e6:,.0f} MB are free: lower data.workers or data.batch_size, or enlarge it, "
            "as with docker run --shm-size"
        )
    why = f"{cores} cores" if workers >= cores else f"{cores} cores, as {SHARED} is small"
    return workers, f"data.workers {wanted}" if wanted else why


def shared_memory() -> int | None:
    """Bytes that are free for batches of workers; None where they are no files."""
    return shutil.disk_usage(SHARED).free if SHARED.is_dir() else None
