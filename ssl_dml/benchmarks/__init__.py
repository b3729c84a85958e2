"""Measurements of the toolkit itself, one file each; scripts/benchmark.py runs them."""

from ssl_dml.benchmarks.bank import bank_costs
from ssl_dml.benchmarks.pretrain import compare_speed

__all__ = ["bank_costs", "compare_speed"]
