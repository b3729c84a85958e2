"""Checks of the toolkit on the device of a machine: right, and how fast."""

from ssl_dml.benchmarking.checks import CHECKS
from ssl_dml.benchmarking.running import Outcome, Setting, run_checks

__all__ = ["CHECKS", "Outcome", "Setting", "run_checks"]
