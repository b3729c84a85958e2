"""What a report shows of a run folder: curves, data, views, configuration."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ssl_dml.reading import read_bytes, read_json, reading
from ssl_dml.reporting.charts import Series, legend_of, lines, number
from ssl_dml.reporting.page import Page
from ssl_dml.reporting.thumbnails import data_uri
from ssl_dml.reporting.trackers import VIEWS
from ssl_dml.threshold_file import read_threshold
from ssl_dml.types import ConfigError

MOST_PIXELS = 1 << 25
MOST_HEIGHT, MOST_WIDTH = 560, 1100  # to which small views are enlarged
# Measures of metrics.jsonl that have a chart of their own, and their titles.
CURVES = {
    "train/loss": "Training loss",
    "eval/knn_top1": "Probe: weighted kNN top-1",
    "eval/bank_knn_top1": "Probe: kNN in the memory bank",
    "eval/recall_at_1": "Probe: recall@1",
    "eval/map_at_r": "Probe: MAP@R",
    "eval/label_distance_at_1": "Probe: label distance of the nearest",
    "eval/rankme": "Health: RankMe, the effective rank",
    "eval/spread": "Health: spread, 0 when collapsed",
    "eval/uniformity": "Health: uniformity, lower is more spread",
    "eval/alignment": "Health: alignment of two views",
    "train/mutual_information": "Bound on mutual information, nats",
    "train/grad_norm": "Gradient norm",
    "train/lr": "Learning rate",
    "train/samples_per_s": "Samples a second",
}
CONSTANT = (
    *("raw_pixels_knn_top1", "log_mel_knn_top1", "raw_values_knn_top1"),
    "mutual_information_limit",
)


def add_curves(page: Page, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Add a chart for each measure that any run has.

    Args:
        page: The page.
        runs: Rows of ``metrics.jsonl`` of each run, by its name.
    """
    drawn = list[str]()
    others = sorted({k for rows in runs.values() for row in rows for k in row} - {*CURVES})
    more = {
        k: k
        for k in others
        if k.startswith(("train/", "eval/")) and k.partition("/")[2] not in CONSTANT
    }
    for key, title in {**CURVES, **more}.items():
        series = [_series(name, key, rows) for name, rows in runs.items()]
        if any(len(one.x) > 1 for one in series):
            drawn.append(lines(series, title=title, x_label="step", legend=False))
    if drawn:
        if len(runs) > 1:
            page.raw(f"<p>{legend_of([*runs])}</p>")
        page.charts(drawn)
    else:
        page.note("no curves: metrics.jsonl has fewer than two rows of any measure")


def _series(name: str, key: str, rows: Sequence[Mapping[str, Any]]) -> Series:
    points = [(row.get("step", 0), row[key]) for row in rows if row.get(key) is not None]
    return Series(name=name, x=[float(x) for x, _ in points], y=[float(y) for _, y in points])


def add_data(page: Page, data: Mapping[str, Any]) -> None:
    """Add what was understood of the data, as ``data.json`` says it."""
    page.section("Data")
    if not data:
        page.note("what was understood of the data is left out: data.json is missing or damaged")
        return
    values: dict[str, object] = {"source": data.get("source", "?")}
    values["samples"] = _count(data.get("samples"))
    extent = data.get("size") or data.get("length")
    if extent is not None:
        images = data.get("size") is not None
        sides = extent if isinstance(extent, list) else [extent] * (1 + images)
        unit = " pixels" if images else " values"
        rate = f" at {data['sampling_rate']} Hz" if data.get("sampling_rate") else ""
        values["each"] = " × ".join(map(str, sides[::-1])) + unit + rate
    values["channels"] = data.get("channels", "?")
    labels = data.get("labels")
    values["labels"] = _labels(labels)
    if data.get("test_samples"):
        values["test samples"] = _count(data["test_samples"])
        values["labels of those"] = _labels(data.get("test_labels"))
    damaged = data.get("damaged")
    if isinstance(damaged, list):
        values["damaged, left out"] = _count(len(damaged))
    notes = data.get("notes")
    if isinstance(notes, list) and notes:
        values["notes"] = "; ".join(map(str, notes))
    values["fingerprint"] = data.get("fingerprint", "?")
    page.pairs(values)


def _labels(found: object) -> str:
    if not isinstance(found, dict):
        return "none"
    unlabeled = f"; {_count(found['unlabeled'])} unlabeled" if found.get("unlabeled") else ""
    return f"{_count(found.get('classes'))} classes by {found.get('labeled_by', '?')}{unlabeled}"


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"


def add_views(page: Page, folder: Path) -> None:
    """Add the views that the augmentation made of the first samples of the run."""
    page.section("Views of the augmentation")
    path = folder / VIEWS
    if not path.exists():
        page.note(f"the views are left out: {path} is missing; a run writes it at its first step")
        return
    try:
        with reading(str(path), "remove it"):
            image = Image.open(io.BytesIO(read_bytes(path)), formats=["PNG"])
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"has {image.width} x {image.height} pixels")
            image = image.convert("L" if image.mode in ("L", "1") else "RGB")
    except ConfigError as error:
        page.note(f"the views are left out: {error}")
        return
    page.text("Each row is a sample of the first batch, then its views.")
    scale = max(1, min(MOST_HEIGHT // image.height, MOST_WIDTH // image.width))
    size = f'width="{scale * image.width}" height="{scale * image.height}"'
    source = f'alt="samples and their views" src="{data_uri(image)}"'
    page.raw(f'<img class="views" {size} {source}>')


def add_measures(page: Page, folder: Path, names: Iterable[str]) -> None:
    """Add what ``ssl_dml evaluate`` has measured, as far as it is beside a run or in a table.

    Args:
        page: The page.
        folder: Where the evaluators wrote ``NAME.json``.
        names: Of the evaluators.
    """
    files = [f"{name}{end}.json" for name in names for end in ("", "_best", "_init")]
    found = [file for file in files if (folder / file).exists()]
    if found:
        page.section("Measures")
    for file in found:
        try:
            read = read_json(folder / file).items()
            results = {str(name): math.nan if one is None else float(one) for name, one in read}
        except (OSError, ValueError, TypeError, AttributeError):
            page.note(f"{file} is left out: it is damaged")
            continue
        ends = {f"{name}_{end}" for name in results for end in ("low", "high")}
        kept = [name for name in results if name not in ends]
        shown = {name: number(v) if math.isfinite(v) else "none" for name, v in results.items()}
        rows = [[name, shown[name], _interval(shown, name)] for name in kept]
        page.text(f"{file.removesuffix('.json').replace('_', ' ')}:")
        columns = 3 if any(interval for _, _, interval in rows) else 2
        page.table(["measure", "value", "interval"][:columns], [row[:columns] for row in rows])


def _interval(shown: Mapping[str, str], name: str) -> str:
    low, high = (shown.get(f"{name}_{end}") for end in ("low", "high"))
    return "" if low is None else f"{low} to {high}"


def add_threshold(page: Page, folder: Path) -> None:
    """Add from which cosine on two samples are the same, where that was calibrated."""
    try:
        found = read_threshold(folder)
    except ConfigError as error:
        page.section("Threshold")
        page.note(f"the threshold is left out: {error}")
        return
    if found is not None:
        page.section("Threshold")
        for line in found.lines():
            page.text(line)
