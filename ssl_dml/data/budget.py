"""How much memory decoding takes at once, however many threads decode and whatever they read."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from ssl_dml.cores import cores
from ssl_dml.data.decoder import Decoder
from ssl_dml.types import ConfigError, one_line

SHARE, LEAST_SHARE = 1 << 28, 1 << 25  # bytes of one sample that threads may decode side by side
AT_ONCE = 1 << 28  # bytes of decoded samples on their way to the store
TOTAL = psutil.virtual_memory().total
_large = threading.Lock()
_own = threading.local()


def share() -> int:
    """Bytes that every thread may take for itself: all together a quarter of the free memory."""
    mine = psutil.virtual_memory().available // 4 // cores()
    return min(SHARE, max(LEAST_SHARE, mine))


def take(size: int) -> None:
    """Wait until a sample may take so many more bytes; outside of :func:`sample` do nothing.

    A sample of more than a share is decoded while no other large one is.

    Args:
        size: Number of bytes.

    Raises:
        MemoryError: If the machine has not as many.
    """
    if size > TOTAL:
        raise MemoryError(f"{size / 1e9:,.1f} GB")
    if not hasattr(_own, "taken"):
        return
    _own.taken += size
    if _own.taken > _own.share and not _own.large:
        _large.acquire()
        _own.large = True


@contextmanager
def sample() -> Iterator[None]:
    """Within it, one sample is read and decoded by this thread."""
    _own.taken, _own.large, _own.share = 0, False, getattr(_own, "share", None) or share()
    try:
        yield
    finally:
        if _own.large:
            _large.release()
        del _own.taken


def rows_at_once(nbytes: int, most: int) -> int:
    """How many decoded samples are held on their way to the store.

    >>> rows_at_once(28 * 28, 512), rows_at_once(3 * 4096 * 4096, 512)
    (512, 5)

    Args:
        nbytes: Size of a decoded sample.
        most: Largest number.
    """
    return max(1, min(most, AT_ONCE // nbytes))


def too_large(name: str, error: MemoryError) -> str:
    """What to tell of a sample that does not fit in memory."""
    return (
        f"sample {name} needs more memory than there is ({one_line(error)}): remove it, or lower "
        "data.max_pixels or data.sequences.length"
    )


def refuse_large(decoder: Decoder, *, samples: int, key: str, processes: int = 1) -> None:
    """Raise if samples cannot be in memory at once, as numbers of 4 bytes.

    Args:
        decoder: Shape of a sample.
        samples: How many are to be, over all processes.
        key: The key to lower.
        processes: Number of processes that share them.

    Raises:
        ConfigError: With the key, what is needed and what is free.
    """
    needed, free = 4 * math.prod(decoder.shape) * samples / processes, free_memory()
    if needed > free:
        shape = "x".join(map(str, decoder.shape))
        raise ConfigError(
            f"{key}: {samples:,} of {shape} values need {needed / 1e9:,.1f} GB of memory, and "
            f"{free / 1e9:,.1f} GB are free: lower it"
        )


def free_memory() -> int:
    """Bytes that are free, of the processor or of an accelerator, where there is more."""
    free = [psutil.virtual_memory().available]
    if torch.cuda.is_available():
        free.append(torch.cuda.mem_get_info()[0])
    return max(free)
