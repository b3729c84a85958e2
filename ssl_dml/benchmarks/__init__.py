"""Measurements of the toolkit itself, one file each; scripts/benchmark.py runs them."""

from ssl_dml.benchmarks.bank import bank_costs, bank_table
from ssl_dml.benchmarks.classes import class_table
from ssl_dml.benchmarks.finetune import finetune_table
from ssl_dml.benchmarks.losses import loss_table
from ssl_dml.benchmarks.methods import method_table
from ssl_dml.benchmarks.pretrain import compare_speed
from ssl_dml.benchmarks.speech import speak
from ssl_dml.benchmarks.tiles import tile_table

__all__ = [
    "bank_costs",
    "bank_table",
    "class_table",
    "compare_speed",
    "finetune_table",
    "loss_table",
    "method_table",
    "speak",
    "tile_table",
]
