"""How many processor cores there are for a process."""

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of each period, or max


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
