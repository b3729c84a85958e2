"""Measurements of the toolkit itself, one file each; scripts/benchmark.py runs them."""

from ssl_dml.benchmarks.pretrain import compare_speed
from ssl_dml.benchmarks.speech import speak

__all__ = ["compare_speed", "speak"]
