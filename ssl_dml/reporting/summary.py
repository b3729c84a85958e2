"""What a run tells its user: the summary at its end, warnings and errors with what to do next."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_dml.files import write_json
from ssl_dml.reading import parse_json, read_bytes, reading
from ssl_dml.reporting.sparkline import sparkline
from ssl_dml.stops import NonFiniteError

MOST_BYTES = 1 << 32  # of the rows of a run
COLLAPSED_SPREAD = 0.1
COLLAPSED_RANK = 2.0
FEWEST = 3  # probes that have a course
SATURATED = 0.9  # of the limit of the bound on mutual information
# Rows of the summary that show measures of the first probe.
BASELINES = {
    "raw pixels": "raw_pixels_knn_top1",
    "log-mel statistics": "log_mel_knn_top1",
    "raw values": "raw_values_knn_top1",
}


def read_records(folder: Path) -> list[dict[str, Any]]:
    r"""Rows of ``metrics.jsonl`` in a run folder; a last line that a kill cut short is left out.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "lo')
    ...     read_records(Path(folder))
    [{'step': 1}]
    """
    return rows_and_damage(folder)[0]


def rows_and_damage(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Rows of ``metrics.jsonl``, and how many lines are none: no numbers, or of an earlier step."""
    path, rows, damaged = folder / "metrics.jsonl", list[dict[str, Any]](), 0
    content = b""
    if path.exists():
        with reading(str(path), "move it away, and a resumed run begins another"):
            content = read_bytes(path, MOST_BYTES)
    for line in content.splitlines(keepends=True):
        row = _row(line)
        if row is not None and _step(row) >= (_step(rows[-1]) if rows else 0):
            rows.append(row)
        elif line.endswith(b"\n"):  # not what a kill cut short
            damaged += 1
    return rows, damaged


def _step(row: dict[str, Any]) -> int:
    return row.get("step", 0)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = parse_json(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or type(row.get("step", 0)) is not int:
        return None
    numbers = all(value is None or isinstance(value, int | float) for value in row.values())
    return row if numbers else None


def summary(folder: Path, init: str | None = None, gain: object = None) -> str:
    """The end of pretraining: kNN accuracy beside its baselines, and what to do next.

    Args:
        folder: The run folder.
        init: Where the backbone started; None for random weights.
        gain: What was gained over the start, to be shown by ``str``; None if unknown.
    """
    rows = _probes(folder)
    if not rows:
        return _text(["metrics.jsonl has no probes"], folder, {})
    first, last = rows[0], rows[-1]
    start = "random weights" if init is None else "start"
    baselines = {start: "knn_top1", **BASELINES}
    table = {name: first.get(f"eval/{measure}") for name, measure in baselines.items()}
    table[f"trained, {last['epoch']:.0f} epochs"] = last.get("eval/knn_top1")
    table["  in its memory bank"] = last.get("eval/bank_knn_top1")
    lines = [f"{name:24}  {value:8.1%}" for name, value in table.items() if value is not None]
    if gain is not None:
        lines.append(f"{'gain over the start':24}  {gain}")
    if lines:
        lines = [f"{'weighted kNN top-1':24}  accuracy", *lines, *_course(rows, "knn_top1")]
        commands = {
            "linear probe": f"ssl_dml evaluate --config linear --run {folder}",
            "fine-tune": f"ssl_dml finetune --config finetune/arcface --init {folder / 'backbone'}",
        }
    else:
        lines = ["no labels, so no accuracy; metrics.jsonl has the health of the features"]
        longer = f"--resume true --train.steps {2 * last['step']}"
        commands = {"train longer": f"ssl_dml pretrain --output_dir {folder} {longer}"}
    return _text(lines, folder, commands, models=(folder / "best").is_dir())


def finetune_summary(folder: Path) -> str:
    """The end of fine-tuning: retrieval among the held-out samples, and what to do next."""
    rows = _probes(folder)
    evaluate = f"ssl_dml evaluate --config retrieval --run {folder}"
    lines = ["no samples were held out, so retrieval was not measured"]
    if rows and "eval/recall_at_1" in rows[0]:
        best = max(rows, key=lambda row: row["eval/recall_at_1"])  # the first of equals
        lines = _comparison(rows, best, {"recall@1": "recall_at_1", "MAP@R": "map_at_r"}, "8.1%")
        lines += _course(rows, "recall_at_1")
    elif rows:
        best = min(rows, key=lambda row: row["eval/label_distance_at_1"])
        lines = _comparison(rows, best, {"label distance": "label_distance_at_1"}, "14.4g")
        evaluate += " --evaluator label_distances"
    return _text(lines, folder, {"on test samples": evaluate}, models=True)


def _probes(folder: Path) -> list[dict[str, Any]]:
    return [row for row in read_records(folder) if {"epoch", "eval/rankme"} <= row.keys()]


def _course(rows: Sequence[dict[str, Any]], measure: str) -> list[str]:
    """The probes of a run as a line of blocks; none of fewer than three."""
    values = [row[key] for row in rows if row.get(key := f"eval/{measure}") is not None]
    return [f"{'course of the probe':24}  {sparkline(values)}"] if len(values) >= FEWEST else []


def _comparison(
    rows: Sequence[dict[str, Any]], best: dict[str, Any], columns: dict[str, str], form: str
) -> list[str]:
    table = {
        "before the first step": rows[0],
        f"best, {best['epoch']:.0f} epochs": best,
        f"last, {rows[-1]['epoch']:.0f} epochs": rows[-1],
    }
    heading = f"{'held-out samples':24}" + "".join(f"  {name:>8}" for name in columns)
    return [heading] + [
        f"{name:24}" + "".join(f"  {row[f'eval/{key}']:{form}}" for key in columns.values())
        for name, row in table.items()
    ]


def _text(
    lines: Sequence[str], folder: Path, commands: dict[str, str], *, models: bool = False
) -> str:
    note = " (backbone: the last model; best: the best)" if models else ""
    commands = {**commands, "curves": f"tensorboard --logdir {folder / 'tensorboard'}"}
    commands["report"] = f"ssl_dml report {folder}"
    following = [f"{name + ':':17}{command}" for name, command in commands.items()]
    return "\n".join(["", *lines, "", f"{'run folder:':17}{folder}{note}", *following])


def collapse_warning(measured: dict[str, float]) -> str | None:
    """A warning if measures of :func:`~ssl_dml.evaluation.health` show that features collapsed.

    >>> collapse_warning({"spread": 0.9, "rankme": 30.0})
    >>> collapse_warning({"spread": 0.01, "rankme": 30.0})[:42]
    'warning: the representation has collapsed '
    """
    if measured["spread"] >= COLLAPSED_SPREAD and measured["rankme"] >= COLLAPSED_RANK:
        return None
    return (
        f"warning: the representation has collapsed (spread {measured['spread']:.3f} of 1, "
        f"RankMe {measured['rankme']:.1f}): lower the learning rate or raise the temperature"
    )


def saturation(values: Mapping[str, Any]) -> str | None:
    """What to tell where the bound on mutual information is within a tenth of its limit, log N.

    Args:
        values: A row of ``metrics.jsonl``.

    >>> saturation({"train/mutual_information": 3.1, "train/mutual_information_limit": 6.2})
    >>> values = {"train/mutual_information": 5.9, "train/mutual_information_limit": 6.2}
    >>> saturation(values)[:86]
    'the bound on mutual information is saturated: 5.90 nats of at most 6.20, log N of N = '
    """
    bound, limit = (values.get(f"train/mutual_information{end}") for end in ("", "_limit"))
    if bound is None or limit is None or bound < SATURATED * limit:
        return None
    return (
        f"the bound on mutual information is saturated: {bound:.2f} nats of at most {limit:.2f}, "
        f"log N of N = {math.exp(limit):,.0f} candidates; the loss tells hardly more apart: a "
        "larger data.batch_size or queue, or stronger augmentation, does"
    )


def explain_non_finite(
    error: NonFiniteError, folder: Path, names: Sequence[str] = ()
) -> NonFiniteError:
    """The error with its remedy and the last checkpoint; a file in the folder lists the samples.

    Args:
        error: The error, which has the indices of the samples.
        folder: The run folder.
        names: Path or key of each sample of the data set; without them indices are listed alone.
    """
    kept = (path.name for path in (folder / "checkpoints").glob("step_*"))
    steps = [int(name[5:]) for name in kept if re.fullmatch(r"step_\d+", name)]
    last = f"{folder / 'checkpoints' / f'step_{max(steps)}'}" if steps else "none"
    listed = ""
    if error.samples:
        path = folder / "non_finite.json"
        named = [names[index] for index in error.samples] if names else []
        write_json(path, {"error": str(error), "samples": error.samples, "names": named})
        first = f"{error.samples[0]} is {named[0]!r}; " if named else ""
        listed = f" ({first}{path} lists all)"
    return NonFiniteError(
        f"{error}{listed}; the last good checkpoint is {last}: lower the learning rate, or look "
        "at those samples",
        error.samples,
    )
