import io
import math
import sys

import pytest

from ssl_dml.reporting.sparkline import BLOCKS, MOST, sparkline


def test_the_largest_value_is_the_highest_block():
    line = sparkline([0.1, 0.9, 0.5], "utf-8")
    assert line == f"{BLOCKS[0]}{BLOCKS[-1]}{BLOCKS[4]}  10.0% to 50.0%"
    assert sparkline([0.5, 0.5], "utf-8").startswith(2 * BLOCKS[0])


def test_many_values_fit_a_terminal():
    line = sparkline([i / 1000 for i in range(1000)], "utf-8")
    assert len(line.split("  ")[0]) == MOST
    assert line.endswith("0.0% to 99.9%")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "no-such-encoding"])
def test_an_output_without_blocks_has_the_numbers(encoding):
    assert sparkline([0.25, 0.5], encoding) == "25.0% to 50.0%"


def test_the_encoding_of_standard_output_counts(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert sparkline([0.25, 0.5]) == "25.0% to 50.0%"


def test_what_is_not_finite_is_left_out():
    assert sparkline([math.nan, 0.5], "ascii") == "50.0%"
    assert sparkline([]) == ""
