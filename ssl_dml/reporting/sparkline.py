"""A row of numbers as one line of text."""

import math
import sys
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
MOST = 60  # characters


def sparkline(values: Sequence[float], encoding: str | None = None) -> str:
    """Blocks from the smallest value to the largest, then the first and the last value.

    Args:
        values: Fractions; those that are not finite are left out, and many are thinned out.
        encoding: What the output can show; None for that of standard output. One without blocks
            has the numbers alone.

    >>> sparkline([0.5, 0.6, 0.9], "utf-8")
    '▁▃█  50.0% to 90.0%'
    >>> sparkline([0.5, 0.6, 0.9], "ascii")
    '50.0% to 90.0%'
    """
    kept = [value for value in values if math.isfinite(value)]
    if not kept:
        return ""
    words = f"{kept[0]:.1%} to {kept[-1]:.1%}" if len(kept) > 1 else f"{kept[0]:.1%}"
    if len(kept) > MOST:
        kept = [kept[round(i * (len(kept) - 1) / (MOST - 1))] for i in range(MOST)]
    low, high = min(kept), max(kept)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    blocks = "".join(BLOCKS[round((value - low) * scale)] for value in kept)
    try:
        blocks.encode(encoding or sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return words
    return f"{blocks}  {words}"
