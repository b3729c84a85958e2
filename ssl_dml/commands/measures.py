"""What ``ssl_dml evaluate`` can measure, by name, and how it is shown."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from ssl_dml.evaluation import (
    classifier,
    clustering,
    few_labels,
    few_shot,
    knn,
    label_distances,
    layers,
    linear_probe,
    logistic,
    open_set,
    retrieval,
    verification,
)
from ssl_dml.evaluation.checkup import checkup, unusual
from ssl_dml.evaluation.compact import compact, compact_table
from ssl_dml.evaluation.layers import shown_layers

UNKNOWN = "not measurable: too few for this rate"
SMALL = 1e-4  # where 4 decimals show nothing
TABLES: set[str | int] = {"gallery", "query", "compute"}


def shown_results(results: Mapping[str, float], *, confidence: float = 0.95) -> str:
    """Measures as lines, each with its interval where it has one.

    >>> print(shown_results({"top1": 0.75, "top1_low": 0.7, "top1_high": 0.8, "queries": 40.0}))
    top1                             0.7500  (95% interval 0.7000 to 0.8000)
    queries                          40.0000
    >>> print(shown_results({"tar_at_far_1e-06": float("nan"), "l2": 1e-5}))
    tar_at_far_1e-06                 not measurable: too few for this rate
    l2                               1e-05
    """
    ends = {f"{name}_{end}" for name in results for end in ("low", "high")}
    lines = []
    for name, value in results.items():
        low, high = (results.get(f"{name}_{end}") for end in ("low", "high"))
        interval = "" if low is None else f"  ({confidence:.0%} interval {low:.4f} to {high:.4f})"
        number = f"{value:.0e}" if 0 < abs(value) < SMALL else f"{value:.4f}"
        shown = UNKNOWN if math.isnan(value) else f"{number}{interval}"
        lines += [f"{name:32} {shown}"] * (name not in ends)
    return "\n".join(lines)


class Measure(NamedTuple):
    """What an evaluator measures.

    Attributes:
        function: Of one or two tables and its options.
        rows: ``probe``: training samples are the gallery, and test samples the query; ``test``:
            test samples, among themselves.
        labels: Whether samples without a label are left out.
        given: Its arguments that are no options.
        searches: Whether rows are searched for among others, which is then said.
        shared: Whether it takes ``compute``, by which all processes share the work.
        table: Its results as a table; None for a line each.
        remarks: Lines on results that are unusual.
    """

    function: Callable[..., dict[str, float]]
    rows: Literal["probe", "test"]
    labels: bool = True
    given: set[str | int] = TABLES
    searches: bool = False
    shared: bool = False
    table: Callable[[Mapping[str, float]], str] | None = None
    remarks: Callable[[Mapping[str, float]], list[str]] = lambda _: []


MEASURES = {
    "knn": Measure(knn, "probe", searches=True, shared=True),
    "linear": Measure(linear_probe, "probe", searches=True, shared=True),
    "logistic": Measure(logistic, "probe", searches=True, shared=True),
    "few_labels": Measure(few_labels, "probe", searches=True, shared=True),
    "retrieval": Measure(retrieval, "test", searches=True, shared=True),
    "verification": Measure(verification, "test"),
    "open_set": Measure(open_set, "test"),
    "clustering": Measure(clustering, "test"),
    "few_shot": Measure(few_shot, "test"),
    "classifier": Measure(classifier, "test"),
    "layers": Measure(
        layers, "probe", given={*TABLES, "dims"}, searches=True, shared=True, table=shown_layers
    ),
    "compact": Measure(compact, "test", searches=True, table=compact_table),
    "label_distances": Measure(
        label_distances, "test", given={*TABLES, "label_values"}, searches=True, shared=True
    ),
    "health": Measure(checkup, "test", labels=False, given={*TABLES, "views"}, remarks=unusual),
}
# Each section of the configuration is the keyword arguments of a function.
FUNCTIONS = {name: (one.function, one.given) for name, one in MEASURES.items()}


def said(measure: Measure, results: Mapping[str, float], options: Mapping[str, Any]) -> str:
    """What an evaluation prints of its results."""
    if measure.table is not None:
        shown = measure.table(results)
    else:
        shown = shown_results(results, confidence=options.get("confidence") or 0.95)
    return "\n".join([shown, *measure.remarks(results)])
