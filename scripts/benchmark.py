"""Measure the toolkit: ``python scripts/benchmark.py NAME``, in a clone.

``benchmark.py NAME --help`` says what a table takes.

- Accuracy: ``methods`` and ``finetune`` train and compare recipes; ``views``, ``multi_crop`` and
  ``invariances`` compare views; ``adapt`` goes on from published weights; ``compact`` shortens
  embeddings; ``equal_time`` is kNN beside other toolkits' in the same time.
- Speed: ``pretrain`` is ``ssl_dml benchmark``, ``speed`` the same for several methods, channels and
  sizes; ``toolkits`` times other toolkits; ``augment`` and ``input`` are views and images a second;
  ``tiles`` and ``losses`` are losses beside others', ``bank`` and ``classes`` a step by the size of
  its bank or class weights; ``scale`` is what methods send and keep on many accelerators.
- Measures: ``measures`` is retrieval and verification, ``clusters`` a million rows; ``search`` is
  an index, ``serve`` its page under many clients; ``drift`` counts false alarms, ``threshold``
  promises kept; ``audit`` counts planted copies found, ``labels`` wrong labels beside cleanlab,
  ``leak`` intervals that cover, and ``audit_rows`` the cost of many rows.
- Data: ``speech`` and ``emoji`` make the labeled recordings and images that others are measured on.
"""

import sys

import benchmarks
from jsonargparse import auto_cli

from ssl_dml.console import run_main
from ssl_dml.types import ConfigError

# Each takes its own arguments from the command line.
TABLES = {
    "adapt": "adapt_table",
    "audit": "audit_table",
    "audit_rows": "rows_table",
    "augment": "augment_table",
    "bank": "bank_table",
    "classes": "class_table",
    "clusters": "cluster_table",
    "compact": "nested_table",
    "drift": "drift_table",
    "emoji": "draw_emoji",
    "equal_time": "equal_time_table",
    "finetune": "finetune_table",
    "input": "input_table",
    "invariances": "invariance_table",
    "labels": "label_table",
    "leak": "leak_table",
    "losses": "loss_table",
    "measures": "measure_table",
    "methods": "method_table",
    "multi_crop": "multi_crop_table",
    "scale": "scale_table",
    "search": "search_table",
    "serve": "serve_load",
    "speech": "speak",
    "speed": "speed_table",
    "threshold": "coverage_table",
    "tiles": "tile_table",
    "toolkits": "toolkit_table",
    "views": "view_table",
}


def main() -> None:
    """Run the measurement that the first word names."""
    name, args = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if name == "pretrain":
        from ssl_dml.commands.benchmark import main as pretrain_speed

        pretrain_speed(args)
    elif name in TABLES:
        auto_cli(getattr(benchmarks, TABLES[name]), args=args)
    else:
        known = ", ".join(["pretrain", *TABLES])
        raise ConfigError(f"there is no benchmark {name!r}; choose one of {known}")


if __name__ == "__main__":
    run_main(main)
