"""What a report shows of ``ssl_dml evaluate --evaluator compact``: recall over bytes."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ssl_dml.evaluation.compact import compact_table
from ssl_dml.reading import read_json
from ssl_dml.reporting.charts import Series, lines
from ssl_dml.reporting.page import Page

RESULTS: Final = "compact.json"
NAMES: Final = {
    "prefixes": r"prefix_\d+_float32",
    "principal components": r"pca_\d+_float32",
    "prefixes in int8": r"prefix_\d+_int8",
    "prefixes in bits, rescored": r"prefix_\d+_bit_rescored",
}


def add_compact(page: Page, folder: Path) -> None:
    """Add what smaller embeddings of a run cost, where that was measured.

    Args:
        page: The page.
        folder: Of the run.
    """
    if not (folder / RESULTS).exists():
        return
    page.section("Smaller embeddings")
    try:
        results = read_json(folder / RESULTS)
        words = compact_table(results)
        first = next(key for key in results if key.endswith("_recall_at_1"))
        whole = {f"95% {end}": results[f"{first}_{end}"] for end in ("low", "high")}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, StopIteration):
        page.note(f"what smaller embeddings cost is left out: {RESULTS} is damaged")
        return
    series = [_series(results, *one) for one in NAMES.items()]
    sizes = [x for one in series for x in one.x]
    for end, height in whole.items():  # beside which small differences are chance
        series.append(Series(name=f"whole, {end}", x=[min(sizes), max(sizes)], y=[height] * 2))
    title = "Recall@1 over bytes of a row in memory"
    page.charts([lines(series, title=title, x_label="bytes", log_x=True)])
    page.details("All of them", words)


def _series(results: Mapping[str, float], name: str, pattern: str) -> Series:
    own = [key.removesuffix("_bytes") for key in results if re.fullmatch(f"{pattern}_bytes", key)]
    points = sorted((results[f"{key}_bytes"], results[f"{key}_recall_at_1"]) for key in own)
    kept = [(x, y) for x, y in points if x > 0 and math.isfinite(y)]
    return Series(name=name, x=[x for x, _ in kept], y=[y for _, y in kept])
