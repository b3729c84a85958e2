"""What ``ssl_dml evaluate`` can measure, by name, and how it is shown."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

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
    retrieval,
)
from ssl_dml.evaluation.layers import shown_layers

SMALL = 1e-4  # where 4 decimals show nothing
TABLES: set[str | int] = {"gallery", "query"}


def shown_results(results: Mapping[str, float]) -> str:
    """Measures as lines, each with its interval where it has one.

    >>> print(shown_results({"top1": 0.75, "top1_low": 0.7, "top1_high": 0.8, "queries": 40.0}))
    top1                             0.7500  (95% interval 0.7000 to 0.8000)
    queries                          40.0000
    """
    ends = {f"{name}_{end}" for name in results for end in ("low", "high")}
    lines = []
    for name, value in results.items():
        low, high = (results.get(f"{name}_{end}") for end in ("low", "high"))
        interval = "" if low is None else f"  (95% interval {low:.4f} to {high:.4f})"
        number = f"{value:.0e}" if 0 < abs(value) < SMALL else f"{value:.4f}"
        lines += [f"{name:32} {number}{interval}"] * (name not in ends)
    return "\n".join(lines)


class Measure(NamedTuple):
    """What an evaluator measures.

    Attributes:
        function: Of one or two tables and its options.
        rows: ``probe``: training samples are the gallery, and test samples the query; ``test``:
            test samples, among themselves.
        labels: Whether samples without a label are left out.
        given: Its arguments that are no options.
        show: Results as lines.
        searches: Whether rows are searched for among others, which is then said.
    """

    function: Callable[..., dict[str, float]]
    rows: Literal["probe", "test"]
    labels: bool = True
    given: set[str | int] = TABLES
    show: Callable[[Mapping[str, float]], str] = shown_results
    searches: bool = True


MEASURES = {
    "knn": Measure(knn, "probe"),
    "linear": Measure(linear_probe, "probe"),
    "retrieval": Measure(retrieval, "test"),
    "clustering": Measure(clustering, "test", searches=False),
    "few_shot": Measure(few_shot, "test", searches=False),
    "few_labels": Measure(few_labels, "probe"),
    "logistic": Measure(logistic, "probe"),
    "classifier": Measure(classifier, "test", searches=False),
    "layers": Measure(layers, "probe", given={*TABLES, "dims"}, show=shown_layers),
    "label_distances": Measure(label_distances, "test", given={*TABLES, "label_values"}),
}
# Each section of the configuration is the keyword arguments of a function.
FUNCTIONS = {name: (one.function, one.given) for name, one in MEASURES.items()}
