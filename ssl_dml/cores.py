"""Processor cores and memory of a process."""

import ctypes
import math
import os
import sys
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of each period, or max
# Of mallopt(3): from how many free bytes at its end the heap shrinks, and from what size on memory
# is asked of the system by itself.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT = (1 << 31) - 1


def cores() -> int:
    """Processor cores that this process may use: those it may run on, within its container's quota.

    >>> cores() >= 1
    True
    """
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
        return max(1, min(mine, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # there is none, or it is max
        return mine


def own_cores() -> int:
    """Cores for each of the processes that the launcher has started on this machine, at least 1."""
    return max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def keep_memory() -> None:
    """Let the C library keep the memory that tensors of the host free, for those that follow.

    It gives large blocks back to the system, which then has to make every page of the next tensor
    anew: on a processor that can double the time of a batch of views. Settings of your
    own (``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_``, another allocator) stay. Where the
    C library is not glibc, nothing changes.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    if (tell := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        tell(TRIM_THRESHOLD, KEPT)
        tell(MMAP_THRESHOLD, 1 << 30)
