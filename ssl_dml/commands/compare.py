"""Two models on one test set: ``ssl_dml compare A B``."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_dml.checks import at_least, inside, seeds
from ssl_dml.commands.evaluate import EvaluateConfig, embedded_parts, opened
from ssl_dml.config import parse
from ssl_dml.evaluation.drift import nearest_neighbors, neighbor_overlap
from ssl_dml.evaluation.embed_table import within
from ssl_dml.evaluation.paired import Difference, over_runs, paired
from ssl_dml.evaluation.per_query import knn_values, retrieval_values, verification_values
from ssl_dml.evaluation.stored import stored_tables
from ssl_dml.files import write_json
from ssl_dml.progress import say
from ssl_dml.tables import TABLE, EmbeddingTable
from ssl_dml.types import ConfigError, shown

FUNCTIONS: dict[str, tuple[Any, set[str | int]]] = {
    "knn": (knn_values, {"gallery", "query"}),
    "retrieval": (retrieval_values, {"gallery"}),
    "verification": (verification_values, {"gallery"}),
}
# What is drawn together: images of known classes stand alone; rows that find each other do not.
DEFAULT_BY = {"knn": "sample", "retrieval": "class", "verification": "class"}


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """A comparison of two models on one test set, or of several runs of each.

    Args:
        before: A run folder or a table of the test set; or several, such as runs with other seeds.
        after: What is compared with it, likewise.
        evaluator: What is measured; tables have no training samples, which kNN needs.
        model: Which model of a run: after the last step, or the best.
        by: What is drawn at once: each sample, samples of a class, or those with the same value in
            a column of the source, such as an identity; null takes samples for kNN and classes for
            the others.
        draws: Draws of the bootstrap and of the permutation test.
        seed: Of the draws.
        confidence: Of the intervals, between 0 and 1.
        output: A JSON file for the results.
        trust: Import the module of any class that a saved backbone names.
    """

    before: tuple[Path, ...]
    after: tuple[Path, ...]
    evaluator: Literal["knn", "retrieval", "verification"] = "knn"
    model: Literal["backbone", "best"] = "backbone"
    by: str | None = None
    draws: int = 2000
    seed: int = 0
    confidence: float = 0.95
    output: Path | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        at_least(1, "compare", draws=self.draws)
        inside(0, 1, "compare", confidence=self.confidence)
        seeds("compare", seed=self.seed)
        if self.output is not None and not self.output.expanduser().absolute().parent.is_dir():
            raise ConfigError(f"--output {self.output}: there is no folder {self.output.parent}")
        counts = len(self.before), len(self.after)
        if counts != (1, 1) and min(counts) < 2:  # noqa: PLR2004 - a spread needs two
            raise ConfigError(
                "compare one run with one, or two or more runs of each; "
                f"got {counts[0]} before and {counts[1]} after"
            )


class Tested(NamedTuple):
    """What a model is tested on.

    Attributes:
        source: The run or the table.
        tables: Gallery and query, or the rows that search among each other.
        classes: Name of the class of each row of the last table.
    """

    source: Path
    tables: Sequence[EmbeddingTable]
    classes: Sequence[str]

    @property
    def rows(self) -> EmbeddingTable:
        """The test samples."""
        return self.tables[-1]


def tested(source: Path, config: CompareConfig, options: dict[str, Any]) -> Tested:
    """Embed the samples of a run, or read a table.

    Raises:
        ConfigError: If it is neither, or has not what is measured.
    """
    source = source.expanduser()
    if (source / TABLE).exists():
        if config.evaluator == "knn":
            raise ConfigError(
                f"{source} is a table, and kNN needs the training samples of a run: name runs, or "
                "choose --evaluator retrieval or verification"
            )
        tables, names = stored_tables(source)
        return Tested(source, tables, [names[i] for i in tables[0].labels.tolist()])
    samples = "knn" if config.evaluator == "knn" else "retrieval"  # the test samples alone
    of_run = EvaluateConfig(run=source, evaluator=samples, model=config.model, trust=config.trust)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    found = opened(of_run, dict(options), device)
    tables = embedded_parts(of_run, found)
    names = list(found.parts[-1][0].class_names or [])
    root = Path(found.data.source)
    rows = tables[-1]
    tables[-1] = EmbeddingTable(
        embeddings=rows.embeddings,
        labels=rows.labels,
        names=[within(root, name) for name in rows.names or ()],
        columns=rows.columns,
    )
    return Tested(source, tables, [names[i] for i in rows.labels.tolist()])


def check_same(first: Tested, other: Tested) -> None:
    """Raise unless two models were tested on the same samples.

    Raises:
        ConfigError: Naming the first that differs.
    """
    pairs = [list(zip(one.rows.names or (), one.classes, strict=True)) for one in (first, other)]
    if pairs[0] == pairs[1]:
        return
    counts = tuple(map(len, pairs))
    told = f"{counts[0]:,} and {counts[1]:,} rows"
    if counts[0] == counts[1]:
        row = next(i for i, (one, two) in enumerate(zip(*pairs, strict=True)) if one != two)
        one, two = (f"{shown(pair[row][0])} of class {shown(pair[row][1])}" for pair in pairs)
        told = f"row {row} is {one}, and {two}"
    raise ConfigError(
        f"{first.source} and {other.source} have different test samples: {told}; compare models on "
        "one test set"
    )


def groups_of(found: Tested, by: str) -> Int[Tensor, " rows"] | None:
    """The group of each test sample; None if each stands alone.

    Raises:
        ConfigError: If there is no such column.
    """
    if by in ("sample", "class"):
        return None if by == "sample" else found.rows.labels
    if by not in found.rows.columns:
        known = ", ".join(["sample", "class", *found.rows.columns])
        raise ConfigError(f"--by must be one of {known}, got {by!r}")
    numbers = dict[Any, int]()
    values = [numbers.setdefault(value, len(numbers)) for value in found.rows.columns[by]]
    return torch.tensor(values)


def compare(config: CompareConfig, values: dict[str, Any]) -> dict[str, float]:
    """Measure each model, and say how sure each difference is.

    Args:
        config: What to compare.
        values: Options of each measure, by section.
    """
    options, (function, _) = values[config.evaluator], FUNCTIONS[config.evaluator]
    by = config.by or DEFAULT_BY[config.evaluator]
    sides, near, first, groups = list[list[dict[str, Tensor]]](), list[Tensor](), None, None
    for sources in (config.before, config.after):
        sides.append([])
        for source in sources:
            found = tested(source, config, options)
            if first is None:
                first, groups = found, groups_of(found, by)
            check_same(first, found)
            near += [nearest_neighbors(found.rows.embeddings)]
            sides[-1].append(function(*found.tables, **options))
    assert first is not None
    names, results = list[str](), dict[str, float]()
    for name in sides[0][0]:
        before, after = (torch.stack([run[name] for run in runs]) for runs in sides)
        known = before[0].isfinite()
        if not known.any():
            say(f"{name} is left out: no test sample has enough others for it")
            continue
        names.append(name)
        own = None if groups is None else groups[known]
        found = difference(before[:, known], after[:, known], own, config)
        ends = {"before": before[:, known].mean().item(), "after": after[:, known].mean().item()}
        results |= {f"{name}_{end}": value for end, value in ends.items()}
        gain = {"gain": found.mean, "gain_low": found.low, "gain_high": found.high}
        results |= {f"{name}_{key}": value for key, value in gain.items()}
        results[f"{name}_p_value"] = found.p_value
    results["neighbor_overlap"] = neighbor_overlap(near[0], near[len(config.before)])
    say(text(results, names, config, by, len(first.rows.labels)))
    if config.output is not None:
        write_json(config.output.expanduser(), results)
    return results


def difference(
    before: Tensor, after: Tensor, groups: Tensor | None, config: CompareConfig
) -> Difference:
    """Of one run each on its samples, or of several runs."""
    if len(before) == 1:
        given = {"draws": config.draws, "seed": config.seed, "confidence": config.confidence}
        return paired(before[0], after[0], groups, **given)
    return over_runs(before, after, groups, confidence=config.confidence)


def text(
    results: dict[str, float], names: Sequence[str], config: CompareConfig, by: str, rows: int
) -> str:
    """The results as a table."""
    runs = len(config.before), len(config.after)
    how = f"{rows:,} test samples, drawn by {by}"
    how += "" if runs == (1, 1) else f"; {runs[0]} runs before and {runs[1]} after"
    interval = f"{config.confidence:.0%} interval"
    lines = [how, f"{'measure':24} {'before':>8} {'after':>8} {'gain':>8}  {interval:20} p-value"]
    for name in names:
        before, after, gain, low, high, p_value = (
            results[f"{name}_{key}"]
            for key in ("before", "after", "gain", "gain_low", "gain_high", "p_value")
        )
        ends = f"{low:+.2%} to {high:+.2%}"
        lines.append(f"{name:24} {before:8.2%} {after:8.2%} {gain:+8.2%}  {ends:20} {p_value:.4f}")
    first = "" if runs == (1, 1) else ", by the first run of each"
    share = f"{results['neighbor_overlap']:.0%}"
    lines.append(f"{share} of the 10 nearest neighbors of a sample are the same{first}")
    return "\n".join(lines)


def main(args: list[str] | None = None) -> None:
    """Parse the command line and compare; the first two words may be what is compared."""
    args = list(sys.argv[1:] if args is None else args)
    words = []
    while args and not args[0].startswith("-") and len(words) < 2:  # noqa: PLR2004
        words.append(args.pop(0))
    for key, word in zip(("before", "after"), words, strict=False):
        args = [f"--{key}={json.dumps(word.split(','))}", *args]
    config, values = parse(CompareConfig, args, kind="compare", functions=FUNCTIONS)
    compare(config, values)
