"""Tables of ``datasets`` with a column of images and, optionally, one of labels."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import datasets

from ssl_dml.config import ConfigError
from ssl_dml.data.images import MAX_PIXELS, cell_image
from ssl_dml.data.sources import RawImage, Source
from ssl_dml.data.split_names import check_splits, listed, notes_on, split_names

IMAGE_COLUMN = "image"  # the default, in whose place another may be taken
SPLIT_COLUMN = "split"
SPLIT_COLUMNS = (SPLIT_COLUMN, "subset", "partition", "usage", "set")


@final
@dataclass(frozen=True)
class Table:
    """A table that was opened.

    Args:
        rows: Its rows.
        identity: Fingerprint and stamp of its files.
        name: Its name in messages.
        notes: What was decided or left out on opening.
        folder: Folder that paths in it are relative to; None if it can hold no paths.
    """

    rows: datasets.Dataset
    identity: tuple[str, str]
    name: str
    notes: list[str] = field(default_factory=list)
    folder: Path | None = None


@final
class TableSource(Source):
    """A table with a column of images and, optionally, one of labels.

    Args:
        table: The table.
        image_column: Column of encoded images or arrays. If there is no column called image, the
            only one that holds images is taken.
        label_column: Column of numbers, strings, or lists of numbers; without it there are no
            labels.
        missing_labels: Whether null, NaN, empty text and -1 mean that there is no label.
        max_pixels: An image of more pixels is damaged.
    """

    def __init__(
        self,
        table: Table,
        *,
        image_column: str,
        label_column: str,
        missing_labels: bool = True,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        rows, self._name, self._max_pixels = table.rows, table.name, max_pixels
        column, found = _image_column(rows, image_column)
        check_column(rows, column, "data.image_column", table.name)
        fingerprint, stamp = (f"{part}:{column}" for part in table.identity)
        self.fingerprint, self.stamp = fingerprint, f"{stamp}:{max_pixels}"
        feature = rows.features[column]
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(column, datasets.Image(decode=False))
        rows = in_order(rows)
        array = isinstance(feature, (datasets.Array2D, datasets.Array3D))
        # Reading a cell of Arrow's own column is about seventy times faster.
        self._images = rows[column] if array else rows.data.column(column)
        self.labels, self.class_names, more = column_labels(
            rows, label_column, beside=[column], missing=missing_labels
        )
        self.further = {
            name: rows.data.column(name)
            for name, kind in rows.features.items()
            if isinstance(kind, datasets.Value) and "binary" not in kind.dtype
            if name not in (column, label_column)
        }
        self.notes = [*table.notes, *found, *more]
        self.labeled_by = f"column {label_column!r}" if self.labels else ""

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> RawImage:  # noqa: D102 - documented in Source
        cell = self._images[index]
        return cell_image(cell.as_py() if hasattr(cell, "as_py") else cell, self._max_pixels)

    def name(self, index: int) -> str:  # noqa: D102
        return f"{self._name}, row {index}"


def split_rows(table: Table, split: str, *, use_splits: bool) -> Table | None:
    """The rows of a split, told by a column of splits; without one, all are train.

    Args:
        table: The table.
        split: ``"train"`` or ``"test"``.
        use_splits: Whether to look for such a column.

    Raises:
        ConfigError: If the column called split has names of splits among others.
    """
    for column in table.rows.column_names if use_splits else ():
        if column.lower() not in SPLIT_COLUMNS:
            continue
        values = _texts(table.rows, column)
        found = split_names(sorted({value or "(missing)" for value in values}))
        if not found.kinds or (found.others and column.lower() != SPLIT_COLUMN):
            continue
        where = f"{table.name}, column {column}"
        check_splits(found, where, things="values", remedy="keep the rows of one", split=split)
        wanted = {*(found.train if split == "train" else found.test)}
        chosen = [i for i, value in enumerate(values) if value in wanted]
        if not chosen:
            return None
        notes = [*table.notes, *notes_on(found, f"column {column}: ")]
        identity = (f"{table.identity[0]}:{split}", f"{table.identity[1]}:{split}")
        return replace(table, rows=table.rows.select(chosen), notes=notes, identity=identity)
    return table if split == "train" else None


def _texts(rows: datasets.Dataset, column: str) -> list[str]:
    """Values of a column of text or named classes; none if it is of another kind."""
    feature = rows.features[column]
    if isinstance(feature, datasets.ClassLabel):
        return ["" if v is None or v < 0 else feature.names[v] for v in rows[column]]
    is_text = isinstance(feature, datasets.Value) and "string" in feature.dtype
    return [value or "" for value in rows[column]] if is_text else []


def _image_column(rows: datasets.Dataset, column: str) -> tuple[str, list[str]]:
    """The column of images: the one that was named, or the only one that holds images.

    Raises:
        ConfigError: If several hold images.
    """
    if column in rows.column_names or column != IMAGE_COLUMN:
        return column, []
    found = [name for name, feature in rows.features.items() if _holds_images(feature)]
    if len(found) > 1:
        raise ConfigError(
            f"data.image_column {column!r} is not a column, and several hold images "
            f"({listed(found)}): name one of them, as in --data.image_column {found[0]}"
        )
    notes = [f"images are those of the column {found[0]}"] if found else []
    return found[0] if found else column, notes


def _holds_images(feature: Any) -> bool:  # noqa: ANN401
    if isinstance(feature, dict):
        return "bytes" in feature
    if isinstance(feature, datasets.Value):
        return "binary" in feature.dtype
    return isinstance(feature, (datasets.Image, datasets.Array2D, datasets.Array3D))


def check_column(table: datasets.Dataset, column: str, key: str, name: str) -> None:
    """Raise unless a table has a column and is not empty.

    Raises:
        ConfigError: Naming ``key``, the key of the configuration that names the column.
    """
    if column not in table.column_names:
        raise ConfigError(
            f"{key} {column!r} is not a column of {name}; it has {', '.join(table.column_names)}"
        )
    if not len(table):
        raise ConfigError(f"data.source {name!r} is empty")


def in_order(table: datasets.Dataset) -> datasets.Dataset:
    """Write out a selection or shuffle of rows, so that Arrow's columns have the same order."""
    return table if getattr(table, "_indices", None) is None else table.flatten_indices()


def column_labels(
    table: datasets.Dataset, column: str, *, beside: Iterable[str] = (), missing: bool = True
) -> tuple[list[int] | None, list[str], list[str]]:
    """Labels, class names and notes from a column of a table, if it has that column.

    Args:
        table: The table.
        column: The column.
        beside: Columns that hold something else.
        missing: As for :func:`labels_of`; where classes are numbered, -1 and null have no name.

    Raises:
        ConfigError: If its values cannot be labels.
    """
    if column not in table.column_names:
        others = [n for n in table.column_names if n not in {*beside, *SPLIT_COLUMNS}]
        note = f"no labels: no column {column}, but {listed(others)}; data.label_column names one"
        return None, [], [note] if others else []
    feature = table.features[column]
    values = list(table[column])
    if isinstance(feature, datasets.ClassLabel):
        labels = [-1 if value is None else value for value in values]
        if (most := max(labels, default=0)) >= len(feature.names):
            raise ConfigError(
                f"data.label_column {column!r} holds {most}, and it has names of "
                f"{len(feature.names)} classes only; write the table again"
            )
        return labels, list(feature.names), unlabeled_note(labels)
    labels, names = labels_of(values, missing=missing, column=column)
    return labels, names, unlabeled_note(labels, by_value=missing)


def unlabeled_note(labels: Sequence[int], *, by_value: bool = False) -> list[str]:
    """A sentence on how many labels are missing, if any.

    Args:
        labels: The labels.
        by_value: Whether some are missing by what their values are, which may be classes.
    """
    missing = sum(label < 0 for label in labels)
    hint = "; data.missing_labels false makes classes of null, NaN, empty and -1" * by_value
    return [f"{missing:,} of {len(labels):,} samples are unlabeled{hint}"] if missing else []


def labels_of(
    values: list[Any], *, missing: bool = True, column: str = "label"
) -> tuple[list[int], list[str]]:
    """Labels and class names from one value for each sample; -1 for those that are missing.

    None, NaN and empty text are missing, and -1 is if it is the only negative among whole
    numbers, but not beside 1 alone. Whole numbers are written without a point. A list of numbers
    is one value; its name has spaces between the numbers.

    >>> labels_of(["cat", None, "ant", "cat", ""])
    ([1, -1, 0, 1, -1], ['ant', 'cat'])
    >>> labels_of([2.0, float("nan"), -1.0, 7.0])
    ([0, -1, -1, 1], ['2', '7'])
    >>> labels_of([1, -1, 1])
    ([1, 0, 1], ['-1', '1'])
    >>> labels_of([2.0, float("nan"), -1.0, None], missing=False)
    ([1, 2, 0, 3], ['-1', '2', 'nan', 'null'])

    Args:
        values: Numbers before text in the order of the classes.
        column: Where they are from, in messages.
        missing: Whether such values are missing; if not, each but a list is a class of that name.

    Raises:
        ConfigError: If values are of a kind that cannot be labels.
    """
    try:
        return _numbered(values, missing=missing)
    except TypeError as error:
        raise ConfigError(
            f"data.label_column {column!r} holds {type(values[0]).__name__}, which cannot be "
            "labels: name a column of numbers or text"
        ) from error


def _numbered(values: list[Any], *, missing: bool) -> tuple[list[int], list[str]]:
    """What :func:`labels_of` gives; a ``TypeError`` if values cannot be told apart or ordered."""
    values = [tuple(value) if isinstance(value, list) else value for value in values]
    values = [_value(value, missing=missing) for value in values]
    found = {value for value in values if value is not None}
    numbers = {value for value in found if isinstance(value, (int, float))}
    if numbers and all(value % 1 == 0 for value in numbers):
        alone = missing and numbers == found and min(found) == -1 and found != {-1, 1}
        gap = -1 if alone else None
        values = [
            None if v is None or v == gap else int(v) if isinstance(v, float) else v for v in values
        ]
        found = {value for value in values if value is not None}
    names = sorted(found, key=lambda name: (isinstance(name, str), name))
    ids = {None: -1, **{name: i for i, name in enumerate(names)}}
    words = [" ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in names]
    return [ids[value] for value in values], words


def _value(value: Any, *, missing: bool) -> Any:  # noqa: ANN401
    """A value as a class has it; None if it is missing."""
    if not _is_missing(value):
        return value
    if missing or isinstance(value, tuple):
        return None
    return value if isinstance(value, str) else "null" if value is None else "nan"


def _is_missing(value: Any) -> bool:  # noqa: ANN401
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, tuple):
        return not value or any(map(_is_missing, value))
    return value is None or value == "" or (isinstance(value, str) and value.isspace())
