"""Measurements of the toolkit itself, one file each; scripts/benchmark.py runs them.

A file is imported when its table is first used, so that memory is that of what is measured.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "adapt_table": "adapt",
    "bank_costs": "bank",
    "bank_table": "bank",
    "class_table": "classes",
    "drift_table": "drift",
    "finetune_table": "finetune",
    "loss_table": "losses",
    "measure_table": "measures",
    "method_table": "methods",
    "toolkit_table": "toolkits",
    "scale_table": "scale",
    "search_table": "search",
    "serve_load": "serve",
    "speak": "speech",
    "speed_table": "speed",
    "coverage_table": "threshold",
    "input_table": "input",
    "invariance_table": "invariances",
    "augment_table": "augment",
    "emoji": "emoji",
    "multi_crop_table": "views",
    "view_table": "views",
    "nested_table": "compact",
    "tile_table": "tiles",
}
__all__ = [*_HOMES]  # noqa: PLE0604 - names of members  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOMES:
        return getattr(import_module(f"benchmarks.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'benchmarks' has no attribute {name!r}")
