"""How a cost grows with a size."""

import math
from collections.abc import Sequence
from statistics import linear_regression


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The power of the size that the cost grows with: the slope of the logarithms' line.

    >>> round(exponent([1000, 2000, 4000], [0.5, 2.0, 8.0]), 6)
    2.0

    Raises:
        ValueError: If there are fewer than two sizes, or one that is not positive.
    """
    if len(sizes) < 2 or min(*sizes, *costs) <= 0:
        raise ValueError(f"an exponent takes two sizes and positive costs, got {sizes}, {costs}")
    return linear_regression([math.log(x) for x in sizes], [math.log(x) for x in costs]).slope


def said(name: str, sizes: Sequence[float], costs: Sequence[float]) -> str:
    """The exponent as a line of a table; empty for a single size.

    >>> said("rows", [1000, 2000], [0.5, 0.5])
    'cost grows with rows to the power of 0.00'
    """
    if len(sizes) < 2:
        return ""
    return f"cost grows with {name} to the power of {exponent(sizes, costs):.2f}"
