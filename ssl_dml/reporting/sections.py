"""What a report shows of a table of embeddings: its map, neighbors, mistakes and similarities."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ssl_dml.evaluation.confusions import confusions
from ssl_dml.evaluation.look import Look, Supervised
from ssl_dml.reporting.charts import Series, lines
from ssl_dml.reporting.page import Page, data_script
from ssl_dml.reporting.thumbnails import data_uri, sprite
from ssl_dml.tables import EmbeddingTable

QUERIES = 10
SHOWN = 8  # neighbors, or samples of a list
CONFUSIONS = 8
PLACES = 10_000  # steps of a coordinate
MOST_CATEGORIES = 1000
WIDE = 1.6  # width over height from which a thumbnail is a wide one
ROOM = 11  # characters below a thumbnail
RATES = (1e-3, 1e-2, 1e-1)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A table of embeddings, and what people know its samples by.

    Args:
        table: Embeddings with labels, -1 where there are none, and names.
        class_names: Names of the labels; empty without.
        images: A small image of each sample; None where there is none.
        words: Which samples these are.
        columns: Further columns of the source, by name.
        notes: What is left out, and why.
    """

    table: EmbeddingTable
    class_names: Sequence[str]
    images: Sequence[Image.Image | None]
    words: str
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def name(self, row: int) -> str:
        """Path or key of a sample."""
        return str(row) if self.table.names is None else self.table.names[row]

    def label(self, row: int) -> str:
        """Name of a sample's class; empty without."""
        label = int(self.table.labels[row])
        return "" if label < 0 else self.class_name(label)

    def class_name(self, label: int) -> str:
        """Name of a class."""
        return self.class_names[label] if label < len(self.class_names) else str(label)


def add_sheet(page: Page, anchor: str, images: Sequence[Image.Image | None], side: int) -> None:
    """Add the sheet of thumbnails that maps refer to; it is not seen itself."""
    sheet = sprite(images, side)[0]
    page.raw(f'<img class="sprite" id="{anchor}" alt="" src="{data_uri(sheet)}">')


def add_map(page: Page, shown: Shown, look: Look, anchor: str, side: int) -> None:
    """Add the map; hovering shows a sample, and it is colored by what is known of each.

    Args:
        page: The page.
        shown: The samples.
        look: Their coordinates and groups.
        anchor: Of the sheet of thumbnails.
        side: Of a thumbnail on the sheet.
    """
    _, across, width, height = sprite(shown.images, side)
    values = {
        "sprite": anchor,
        "across": across,
        "cell": [width, height],
        "shown": [int(image is not None) for image in shown.images],
        "names": [shown.name(row) for row in range(len(shown.images))],
        "maps": {name: _placed(points) for name, points in look.maps.items()},
        "columns": _columns(shown, look),
    }
    page.section("Map of embeddings")
    page.text(
        "Each dot is a sample. Hover, touch, or use the arrow keys to see it; choose a color; "
        "press a name below the map to bring that group to the front."
    )
    page.raw(
        '<div class="map"><div class="controls"><label>Map <select></select></label>'
        "<label>Color <select></select></label></div>"
        '<canvas tabindex="0" role="img" aria-label="Map of embeddings; arrow keys go from sample '
        'to sample"></canvas><div class="legend"></div>'
        f'<div class="tip" role="status" hidden></div>{data_script(values)}</div>'
    )


def _placed(points: Float[Tensor, "rows 2"]) -> list[int]:
    """Coordinates from 0 to 10,000, x and y in turn, y downward."""
    low, high = points.amin(dim=0), points.amax(dim=0)
    scaled = (points - low) / (high - low).clamp_min(1e-12)
    scaled[:, 1] = 1 - scaled[:, 1]
    return (scaled * PLACES).round().int().flatten().tolist()


def _columns(shown: Shown, look: Look) -> dict[str, dict[str, Any]]:
    found = dict[str, dict[str, Any]]()
    labels = shown.table.labels
    if (labels >= 0).any():
        found["class"] = _categories([shown.label(row) or None for row in range(len(labels))])
    if look.supervised is not None:
        told: list[str | None] = [None] * len(labels)
        for row, right in zip(
            look.supervised.rows.tolist(), look.supervised.right.tolist(), strict=True
        ):
            told[row] = "right" if right else "wrong"
        found["kNN"] = _categories(told)
    groups = look.groups.tolist()
    found["cluster"] = {
        "values": groups,
        "names": [f"cluster {i + 1}" for i in range(max(groups) + 1)],
    }
    found["neighbor of"] = _numbers(look.near.occurrence.tolist())
    found["isolation"] = _numbers([round(v, 4) for v in look.near.isolation.tolist()])
    for name, values in shown.columns.items():
        column = _column(values)
        if column is not None:
            found[name if name not in found else f"{name} (column)"] = column
    return {name: column for name, column in found.items() if column["values"]}


def _column(values: Sequence[Any]) -> dict[str, Any] | None:
    """A further column as numbers or categories; None if it has neither, or too many."""
    kept = [value for value in values if value is not None]
    if not kept:
        return None
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in kept):
        return _numbers(values)
    if not all(isinstance(value, str | bool) for value in kept):
        return None
    return _categories([None if value is None else str(value) for value in values])


def _categories(values: Sequence[str | None]) -> dict[str, Any]:
    """Values as numbers of their sorted names; no values where there are too many names."""
    names = sorted({value for value in values if value is not None})
    if len(names) > MOST_CATEGORIES:
        return {"values": []}
    place = {name: i for i, name in enumerate(names)}
    return {"values": [-1 if v is None else place[v] for v in values], "names": names}


def _numbers(values: Sequence[Any]) -> dict[str, Any]:
    kept = [value for value in values if value is not None and math.isfinite(value)]
    return {"values": list(values), "low": min(kept, default=0), "high": max(kept, default=0)}


def _thumb(shown: Shown, row: int, words: str = "", mark: str = "") -> str:
    """A sample with its name, what is said of it, and a mark: hit, miss or query."""
    image = shown.images[row]
    wide = " wide" if image is not None and image.width > WIDE * image.height else ""
    sign = {"hit": "<b>✓</b> ", "miss": "<b>✗</b> "}.get(mark, "")
    drawn = (
        '<span class="gone"></span>' if image is None else f'<img alt="" src="{data_uri(image)}">'
    )
    name, label = escape(shown.name(row)), escape(shown.label(row))
    said = [part for part in (f"{sign}{label}" if label else "", escape(words)) if part]
    said = said or [name]
    body = "".join(f"<span>{line}</span>" for line in said)
    return f'<div class="thumb{wide} {mark}" title="{name}">{drawn}{body}</div>'


def _end(name: str) -> str:
    """What tells a sample from others, where there is little room.

    >>> _end("fashion_mini, row 1234"), _end("cats/a.png")
    ('row 1234', 'a.png')
    """
    last = name.rpartition("/")[2].rpartition(", ")[2]
    return last if len(last) <= ROOM else "…" + last[1 - ROOM :]


def _strip(thumbs: Iterable[str]) -> str:
    return f'<div class="strip">{"".join(thumbs)}</div>'


def add_pairs(page: Page, upper: Shown, lower: Shown, words: Sequence[str]) -> None:
    """Add samples of two tables, row by row one below the other, with words below the upper."""
    pairs = (
        f"<div>{_thumb(upper, row, said)}{_thumb(lower, row)}</div>"
        for row, said in enumerate(words)
    )
    page.raw(_strip(pairs))


def add_neighbors(page: Page, shown: Shown, look: Look, seed: int) -> None:
    """Add the nearest neighbors of some random samples."""
    page.section("Nearest neighbors")
    labeled = look.supervised is not None
    page.text(
        "Random samples, at the left, and the nearest others with their cosine"
        + ("; green and ✓ for the same class, red and ✗ for another." if labeled else ".")
    )
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(shown.images), generator=generator)[:QUERIES]
    for row in chosen.tolist():
        own = int(shown.table.labels[row])
        thumbs = [_thumb(shown, row, mark="query")]
        near = zip(look.near.rows[row].tolist(), look.near.cosines[row].tolist(), strict=True)
        for other, cosine in list(near)[:SHOWN]:
            theirs = int(shown.table.labels[other])
            known = labeled and own >= 0 and theirs >= 0
            mark = ("hit" if own == theirs else "miss") if known else ""
            thumbs.append(_thumb(shown, other, f"{cosine:.3f}", mark))
        page.raw(_strip(thumbs))


def add_confusions(page: Page, shown: Shown, found: Supervised) -> None:
    """Add the classes that a kNN takes for others most often, with samples."""
    page.section("Worst confusions")
    labels = shown.table.labels[found.rows]
    worst = confusions(labels, found.predicted, most=CONFUSIONS)
    page.text(
        f"A weighted kNN among the other samples has {found.accuracy.mean:.1%} right "
        f"(95% interval {found.accuracy.low:.1%} to {found.accuracy.high:.1%})."
    )
    for one in worst:
        name, other = shown.class_name(one.label), shown.class_name(one.predicted)
        share = len(one.rows) / one.of
        page.text(f"{name} taken for {other}: {len(one.rows):,} of {one.of:,} ({share:.1%})")
        rows = [int(found.rows[row]) for row in one.rows[:SHOWN]]
        page.raw(_strip(_thumb(shown, row, _end(shown.name(row))) for row in rows))


def add_hubs(page: Page, shown: Shown, look: Look) -> None:
    """Add the most crowded and the most isolated samples."""
    k = look.near.rows.shape[1]
    occurrence, isolation = look.near.occurrence, look.near.isolation
    page.section("Hubs and outliers")
    page.text(
        f"Hubs are among the {k} nearest of many others; the skewness of that count is "
        f"{look.near.skewness:.2f} (about 0 without hubs). {int((occurrence == 0).sum()):,} of "
        f"{len(occurrence):,} samples are nobody's neighbor."
    )
    rows = occurrence.argsort(descending=True, stable=True)[: 2 * SHOWN].tolist()
    page.raw(_strip(_thumb(shown, row, f"of {int(occurrence[row])}") for row in rows))
    page.text(f"The most isolated samples, with the mean cosine to their {k} nearest:")
    rows = isolation.argsort(descending=True, stable=True)[: 2 * SHOWN].tolist()
    page.raw(_strip(_thumb(shown, row, f"{1 - float(isolation[row]):.3f}") for row in rows))


def add_similarities(page: Page, found: Supervised) -> None:
    """Add histograms of similarity by class, and the ROC curve of all pairs."""
    pairs = found.pairs
    if pairs is None:
        page.note("no two labeled samples are of one class: no similarities by class")
        return
    page.section("Similarities of pairs")
    edges, same, other = (part.tolist() for part in pairs.histogram())
    false, true, thresholds = (part.tolist() for part in pairs.roc())
    page.text(
        f"{len(pairs.same):,} pairs of one class and {len(pairs.other):,} of two; a pair of one "
        f"class is the more similar with probability {pairs.auc():.4f} (area under the ROC curve)."
    )
    series = [Series(name="same class", x=edges[:-1], y=same)]
    series += [Series(name="other class", x=edges[:-1], y=other)]
    title = "Share of pairs by cosine"
    axes = {"x_label": "false accept rate", "y_label": "true accept rate", "log_x": True}
    page.charts(
        [
            lines(series, title=title, x_label="cosine", bars=True),
            lines([Series(name="ROC", x=false, y=true)], title="ROC of all pairs", **axes),
        ]
    )
    rows = list[list[str]]()
    for rate in RATES:
        if rate * len(pairs.other) >= 1:
            place = min(range(len(false)), key=lambda i: abs(false[i] - rate))
            rows.append([f"{rate:g}", f"{true[place]:.1%}", f"{thresholds[place]:.3f}"])
    page.table(["false accept rate", "true accept rate", "from cosine"], rows)
