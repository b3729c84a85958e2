"""Progress bars: on the first process alone, and seldom when nobody watches."""

import os
import sys
from typing import Any

from tqdm import tqdm


def progress(total: int, what: str, unit: str, *, delay: float = 2.0) -> "tqdm[Any]":
    """A bar with time left that appears after ``delay`` seconds and goes when it is closed."""
    return tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        leave=False,
        delay=delay,
        mininterval=0.1 if sys.stderr.isatty() else 10,
        disable=os.environ.get("RANK", "0") != "0",
    )
