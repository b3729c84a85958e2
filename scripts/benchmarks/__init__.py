"""Measurements of the toolkit itself, one file each; scripts/benchmark.py runs them.

A file is imported when its table is first used, so that memory is that of what is measured.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "adapt_table": "adapt",
    "audit_table": "audit",
    "augment_table": "augment",
    "bank_costs": "bank",
    "bank_table": "bank",
    "class_table": "classes",
    "cluster_table": "clusters",
    "nested_table": "compact",
    "drift_table": "drift",
    "draw_emoji": "emoji",
    "equal_time_table": "toolkits",
    "finetune_table": "finetune",
    "input_table": "input",
    "invariance_table": "invariances",
    "label_table": "label_errors",
    "leak_table": "leaks",
    "loss_table": "losses",
    "measure_table": "measures",
    "method_table": "methods",
    "rows_table": "audit_rows",
    "scale_table": "scale",
    "search_table": "search",
    "serve_load": "serve",
    "speak": "speech",
    "speed_table": "speed",
    "coverage_table": "threshold",
    "tile_table": "tiles",
    "toolkit_table": "toolkits",
    "multi_crop_table": "views",
    "view_table": "views",
}
__all__ = [*_HOMES]  # noqa: PLE0604 - names of members  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOMES:
        return getattr(import_module(f"benchmarks.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'benchmarks' has no attribute {name!r}")
