"""Measure the toolkit: ``python scripts/benchmark.py NAME``, in a clone.

``benchmark.py NAME --help`` says what a table takes: ``methods`` and ``finetune`` train and compare
recipes, and ``adapt`` goes on from published weights; ``tiles`` and ``losses`` compare losses with
other toolkits', ``bank`` and ``classes`` the cost of a step by the size of its bank or its class
weights; ``search FOLDER`` measures an index of embeddings, ``measures`` retrieval and verification,
and ``serve`` asks the search page from many clients; ``audit`` plants changed copies and counts
those that are found; ``drift`` counts false alarms, and
``threshold`` how often thresholds keep their promise; ``speech FOLDER`` makes the labeled
recordings that CPC is measured on; ``pretrain`` is ``ssl_dml benchmark``.
"""

import sys

from benchmarks import (
    adapt_table,
    audit_table,
    bank_table,
    class_table,
    coverage_table,
    drift_table,
    finetune_table,
    loss_table,
    measure_table,
    method_table,
    search_table,
    serve_load,
    speak,
    tile_table,
)
from jsonargparse import auto_cli

from ssl_dml.commands.benchmark import main as pretrain_speed
from ssl_dml.console import run_main
from ssl_dml.types import ConfigError

# Each takes its own arguments from the command line.
TABLES = {
    "adapt": adapt_table,
    "audit": audit_table,
    "bank": bank_table,
    "classes": class_table,
    "drift": drift_table,
    "finetune": finetune_table,
    "losses": loss_table,
    "measures": measure_table,
    "methods": method_table,
    "search": search_table,
    "serve": serve_load,
    "speech": speak,
    "threshold": coverage_table,
    "tiles": tile_table,
}


def main() -> None:
    """Run the measurement that the first word names."""
    name, args = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if name == "pretrain":
        pretrain_speed(args)
    elif name in TABLES:
        auto_cli(TABLES[name], args=args)
    else:
        known = ", ".join(["pretrain", *TABLES])
        raise ConfigError(f"there is no benchmark {name!r}; choose one of {known}")


if __name__ == "__main__":
    run_main(main)
