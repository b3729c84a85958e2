"""Measurements of the toolkit itself, one file each; scripts/benchmark.py runs them."""

from benchmarks.adapt import adapt_table
from benchmarks.audit import audit_table
from benchmarks.bank import bank_costs, bank_table
from benchmarks.classes import class_table
from benchmarks.drift import drift_table
from benchmarks.finetune import finetune_table
from benchmarks.losses import loss_table
from benchmarks.measures import measure_table
from benchmarks.methods import method_table
from benchmarks.search import search_table
from benchmarks.serve import serve_load
from benchmarks.speech import speak
from benchmarks.threshold import coverage_table
from benchmarks.tiles import tile_table

__all__ = [
    "adapt_table",
    "audit_table",
    "bank_costs",
    "bank_table",
    "class_table",
    "coverage_table",
    "drift_table",
    "finetune_table",
    "loss_table",
    "measure_table",
    "method_table",
    "search_table",
    "serve_load",
    "speak",
    "tile_table",
]
