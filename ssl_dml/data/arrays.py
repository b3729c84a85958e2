"""Sequences in columns of tables and in ``.npz`` files, read as recordings."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, final

import datasets
import numpy as np
import pyarrow
from jaxtyping import Shaped

from ssl_dml.config import ConfigError
from ssl_dml.data.recordings import Recordings
from ssl_dml.data.sources import fingerprint
from ssl_dml.data.split_names import printable
from ssl_dml.data.tables import (
    check_column,
    column_labels,
    in_order,
    labels_of,
    unlabeled_note,
)
from ssl_dml.progress import progress
from ssl_dml.reading import reading, regular, unpackable

NUMBERS = "uif"
ONE_CHANNEL, CHANNELS = 2, 3  # dimensions of an array of sequences


@final
class TableArrays(Recordings):
    """A column of a table with lists of numbers, ``[time]`` or ``[channels, time]``.

    Args:
        table: The table.
        identity: Fingerprint and stamp of its files.
        name: Name of the table in messages.
        column: Column of the lists.
        label_column: Column of integers or strings; without it there are no labels.
        missing_labels: Whether null, NaN, empty text and -1 mean that there is no label.
        notes: What was decided or left out before.
    """

    dtype: Literal["int16", "float32"] = "float32"

    def __init__(
        self,
        table: datasets.Dataset,
        identity: tuple[str, str],
        name: str,
        *,
        column: str,
        label_column: str,
        missing_labels: bool = True,
        notes: Sequence[str] = (),
    ) -> None:
        check_column(table, column, "data.sequences.column", name)
        table = in_order(table)
        self.fingerprint, self.stamp = (f"{part}:{column}" for part in identity)
        self._name, self._cells = name, table.data.column(column)
        self.labels, self.class_names, more = column_labels(
            table, label_column, beside=[column], missing=missing_labels
        )
        self.notes = [*notes, *more]
        self.labeled_by = f"column {label_column!r}" if self.labels else ""
        shapes: list[tuple[int, int]] = []
        with progress(len(table), "measuring", "sequences") as bar:
            for cell in self._cells:
                shapes.append(_shape(cell))
                bar.update()
        self.channels = max(1, *(channels for channels, _ in shapes))
        self.lengths = [length for _, length in shapes]
        if self.channels > (longest := max(self.lengths)) > 0:
            self.notes.append(
                f"cells are read as up to {self.channels:,} channels of {longest:,} values; if "
                "time is first, transpose them"
            )

    def read(self, index: int, start: int, stop: int) -> Shaped[np.ndarray, "channels time"]:  # noqa: D102 - in Recordings
        return _values(self._cells[index])[:, start:stop]

    def name(self, index: int) -> str:  # noqa: D102
        return f"{self._name}, row {index}"


@final
class NpzArrays(Recordings):
    """The array ``x`` of an ``.npz`` file, ``[N, time]`` or ``[N, channels, time]``.

    Args:
        path: The file; it may also hold an array ``y`` with one label for each sequence.
        missing_labels: Whether NaN, empty text and -1 mean that there is no label.

    Raises:
        ConfigError: If the file is missing or damaged, or its arrays have another shape or type.
    """

    dtype: Literal["int16", "float32"] = "float32"

    def __init__(self, path: Path, *, missing_labels: bool = True) -> None:
        arrays = _load(path)
        if "x" not in arrays:
            found = ", ".join(arrays) or "nothing"
            raise ConfigError(
                f"data.source {str(path)!r} lacks the array x of sequences; it has {found}"
            )
        x = arrays["x"]
        if x.ndim not in (ONE_CHANNEL, CHANNELS) or x.dtype.kind not in NUMBERS or not x.size:
            raise ConfigError(
                f"data.source {str(path)!r}: x must hold numbers as [N, time] or "
                f"[N, channels, time], got {x.dtype} of shape {list(x.shape)}"
            )
        self._path, self._x = path, x[:, None] if x.ndim == ONE_CHANNEL else x
        self.fingerprint, self.stamp = fingerprint(path, [path])
        self.labels, self.class_names = None, []
        self.notes = _doubts(x.shape, certain="y" in arrays)
        if "y" in arrays:
            y = arrays["y"]
            if y.shape != x.shape[:1]:
                raise ConfigError(
                    f"data.source {str(path)!r}: y must hold one label for each of {len(x)} "
                    f"sequences, got shape {list(y.shape)}{_remedy(x.shape, y.shape)}"
                )
            self.labels, self.class_names = labels_of(y.tolist(), missing=missing_labels)
            self.notes += unlabeled_note(self.labels, by_value=missing_labels)
            self.labeled_by = "array 'y'"
        self.channels = self._x.shape[1]
        self.lengths = [self._x.shape[2]] * len(x)

    def read(self, index: int, start: int, stop: int) -> Shaped[np.ndarray, "channels time"]:  # noqa: D102 - in Recordings
        return self._x[index, :, start:stop]

    def name(self, index: int) -> str:  # noqa: D102
        return f"{self._path}, sequence {index}"


def _remedy(x: tuple[int, ...], y: tuple[int, ...]) -> str:
    """What to do if labels show that another axis than the first is that of the sequences.

    >>> _remedy((16000, 40), (40,))
    '; x is [time, N] then: save x.T'
    """
    if y != x[-1:]:
        return ""
    if len(x) == ONE_CHANNEL:
        return "; x is [time, N] then: save x.T"
    return "; x has them last then: save numpy.moveaxis(x, -1, 0)"


def _doubts(shape: tuple[int, ...], *, certain: bool) -> list[str]:
    """What an array of sequences is read as, where its axes may be meant otherwise.

    >>> _doubts((16000, 40), certain=False)
    ['x [16000, 40] is read as 16,000 sequences of 40 values; if time is first, save x.T']

    Args:
        shape: Of the array.
        certain: Whether labels show that the first axis is that of the sequences.
    """
    count, channels, length = shape[0], shape[-2], shape[-1]
    if channels <= length or (certain and len(shape) == ONE_CHANNEL):
        return []
    text, remedy = f"{count:,} sequences of {length:,} values", "if time is first, save x.T"
    if len(shape) == CHANNELS:
        text += f" in {channels:,} channels"
        remedy = "if time is second, save x.transpose(0, 2, 1)"
    return [f"x {list(shape)} is read as {text}; {remedy}"]


def _load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, if they fit in memory once they are unpacked."""
    with reading(f"data.source {printable(str(path))!r}", "save it again with numpy.savez"):
        with zipfile.ZipFile(regular(path)) as archive:
            unpackable(archive)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


def _values(cell: pyarrow.Scalar) -> Shaped[np.ndarray, "channels time"]:
    """Convert a cell to an array.

    Raises:
        ValueError: If it is not a list of numbers, or its channels differ in length.
    """
    cell = cell.value if isinstance(cell, pyarrow.ExtensionScalar) else cell
    values = getattr(cell, "values", None)
    if values is None:
        raise ValueError("is not a list of numbers")
    channels = 1
    if isinstance(values, (pyarrow.ListArray, pyarrow.LargeListArray, pyarrow.FixedSizeListArray)):
        lengths = set(values.value_lengths().to_pylist())
        if len(lengths) > 1:
            raise ValueError("has channels of different lengths")
        channels, values = len(values), values.flatten()
    array = values.to_numpy(zero_copy_only=False)
    if array.dtype.kind not in NUMBERS:
        raise ValueError("is not a list of numbers")
    return array.reshape(channels, -1) if array.size else array[None]


def _shape(cell: pyarrow.Scalar) -> tuple[int, int]:
    """Channels and length; zeros for what cannot be read, which reading will tell."""
    try:
        channels, length = _values(cell).shape
    except ValueError:
        return 0, 0
    return channels, length
