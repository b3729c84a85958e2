"""Measure the toolkit: ``python scripts/benchmark.py NAME``, in a clone.

``benchmark.py NAME --help`` says what a table takes: ``methods`` and ``finetune`` train and compare
recipes, ``views`` and ``multi_crop`` views, ``compact`` prefixes of embeddings, and ``adapt`` goes
on from published weights; ``tiles`` and ``losses`` compare losses with other toolkits', ``bank``
and ``classes`` the cost of a step by the size of its bank or its class weights; ``augment`` and
``input`` measure how fast images are augmented and come in; ``scale`` says what methods send and
keep on many accelerators; ``search FOLDER`` measures an index of embeddings, ``measures`` retrieval
and verification, and ``serve`` asks the search page from many clients; ``drift`` counts false
alarms, and ``threshold`` how often thresholds keep their promise; ``audit`` counts planted copies
that are found, ``labels`` wrong labels beside cleanlab, ``leak`` intervals that cover, and
``audit_rows`` the cost of judging many rows; ``speech FOLDER`` and ``emoji FOLDER`` make the
labeled recordings and images that others are measured on; ``pretrain`` is ``ssl_dml benchmark``,
``speed`` the same for several methods, channels and sizes, and ``toolkits`` times other toolkits'
SimCLR.
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
    "compact": "nested_table",
    "drift": "drift_table",
    "emoji": "draw_emoji",
    "finetune": "finetune_table",
    "input": "input_table",
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
