"""Progress bars and lines for the user, from the main process alone."""

import os
import sys
from typing import Any

from tqdm import tqdm


def say(line: str) -> None:
    """Print a line to standard output, on the main process only; progress bars stay intact.

    >>> say("20 samples")
    20 samples
    """
    if _is_main_process():
        tqdm.write(line)
        sys.stdout.flush()


def progress(total: int, what: str, unit: str, *, delay: float = 2.0) -> "tqdm[Any]":
    """A bar with time left that appears after ``delay`` seconds and goes when it is closed."""
    return tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        leave=False,
        delay=delay,
        mininterval=0.1 if sys.stderr.isatty() else 10,
        disable=not _is_main_process(),
    )


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"
