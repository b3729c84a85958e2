"""Tables of ``datasets`` with a column of images and, optionally, one of labels."""

import io
from typing import Any, final

import datasets
import numpy as np
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data.sources import RawImage, Source


@final
class TableSource(Source):
    """A table of ``datasets`` with a column of images and, optionally, one of labels.

    Args:
        table: The table.
        identity: Fingerprint and stamp of its files.
        name: Name of the table in messages.
        image_column: Column of encoded images or arrays.
        label_column: Column of numbers, strings, or lists of numbers; without it there are no
            labels.
    """

    def __init__(
        self,
        table: datasets.Dataset,
        identity: tuple[str, str],
        name: str,
        *,
        image_column: str,
        label_column: str,
    ) -> None:
        check_column(table, image_column, "data.image_column", name)
        self.fingerprint, self.stamp = (f"{part}:{image_column}" for part in identity)
        self._name = name
        feature = table.features[image_column]
        if isinstance(feature, datasets.Image):
            table = table.cast_column(image_column, datasets.Image(decode=False))
        table = in_order(table)
        array = isinstance(feature, (datasets.Array2D, datasets.Array3D))
        # Reading a cell of Arrow's own column is about seventy times faster.
        self._images = table[image_column] if array else table.data.column(image_column)
        self.labels, self.class_names = column_labels(table, label_column)
        self.labeled_by = f"column {label_column!r}" if self.labels else ""

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> RawImage:  # noqa: D102 - documented in Source
        cell = self._images[index]
        cell = cell.as_py() if hasattr(cell, "as_py") else cell
        if isinstance(cell, dict):
            data = cell["bytes"]
            return Image.open(io.BytesIO(data) if data is not None else cell["path"])
        return Image.open(io.BytesIO(cell)) if isinstance(cell, bytes) else np.asarray(cell)

    def name(self, index: int) -> str:  # noqa: D102
        return f"{self._name}, row {index}"


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


def column_labels(table: datasets.Dataset, column: str) -> tuple[list[int] | None, list[str]]:
    """Labels and class names from a column of a table, if it has that column."""
    if column not in table.column_names:
        return None, []
    feature = table.features[column]
    values = list(table[column])
    if isinstance(feature, datasets.ClassLabel):
        return [-1 if value is None else value for value in values], list(feature.names)
    return labels_of(values)


def labels_of(values: list[Any]) -> tuple[list[int], list[str]]:
    """Labels and class names from one value for each sample; None becomes -1.

    A list of numbers is one value; its name has spaces between the numbers.

    >>> labels_of(["cat", None, "ant", "cat"])
    ([1, -1, 0, 1], ['ant', 'cat'])
    """
    values = [tuple(value) if isinstance(value, list) else value for value in values]
    names = sorted({value for value in values if value is not None})
    ids = {None: -1, **{name: i for i, name in enumerate(names)}}
    words = [" ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in names]
    return [ids[value] for value in values], words
