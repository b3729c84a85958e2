"""Tables that list files: CSV, TSV and parquet with a column of paths."""

import csv
import hashlib
import os
import re
from collections import Counter
from pathlib import Path

import datasets
import pyarrow
import pyarrow.csv

from ssl_dml.config import ConfigError
from ssl_dml.data.folders import LabeledFiles
from ssl_dml.data.sources import fingerprint
from ssl_dml.data.split_names import listed, printable
from ssl_dml.data.tables import Table, column_labels
from ssl_dml.data.walk import suffix_of
from ssl_dml.reading import regular
from ssl_dml.types import one_line

LISTINGS = (".csv", ".tsv")
DELIMITERS = ",;\t|"
CODE = re.compile(r"[-+]?0\d|.*_")  # int() takes 1_000 for a thousand
MOST_COLUMNS = 1_000
LOOKED_AT = 20  # values of a column, to tell whether they are paths


def is_listing(path: Path) -> bool:
    """Whether a file is CSV or TSV by its suffix."""
    return suffix_of(path) in LISTINGS and path.is_file()


def read_listing(path: Path) -> Table:
    """Read a CSV or TSV file with a header; paths in it are relative to its folder.

    A column whose values are all numbers holds numbers; 02 is text.

    Raises:
        ConfigError: Naming the file, if it is empty, damaged, without header, or not in UTF-8.
    """
    try:
        with regular(path).open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
        delimiter = max(DELIMITERS, key=first.count)
        header = next(csv.reader([first], delimiter=delimiter), [])
        text = {name: pyarrow.string() for name in header}
        rows = pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(column_types=text),
        )
    except Exception as error:  # libraries raise anything on damaged bytes
        reason = "is empty" if not path.stat().st_size else f"cannot be read: {one_line(error)}"
        raise ConfigError(
            f"data.source {printable(str(path))!r} {reason}; write it as CSV in UTF-8 with a header"
        ) from error
    if len(header) > MOST_COLUMNS:
        raise ConfigError(
            f"data.source {printable(str(path))!r} has {len(header):,} columns, and at most "
            f"{MOST_COLUMNS:,} are read; write one for the files and one for the labels"
        )
    if named := [name for name in header if name and _is_file(path.parent / name)]:
        raise ConfigError(
            f"data.source {printable(str(path))!r} has no header: its first line names the file "
            f"{named[0]}; write a line such as image,label above it"
        )
    if double := next((n for n, count in Counter(rows.column_names).items() if count > 1), None):
        raise ConfigError(
            f"data.source {printable(str(path))!r} has two columns {double!r}; name one otherwise"
        )
    rows = pyarrow.table({name: _numbers(rows[name]) for name in rows.column_names})
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    identity = fingerprint(path, [path], digest)
    return Table(datasets.Dataset(rows), identity, str(path), folder=path.parent)


def path_column(table: Table, column: str) -> str | None:
    """The column of paths: the one that is asked for, or the only one; None if there is none.

    Args:
        table: The table.
        column: The column that is asked for; the table may lack it.

    Raises:
        ConfigError: If several hold paths and none is asked for.
    """
    if table.folder is None:
        return None
    found = [name for name in table.rows.column_names if _holds_paths(table, name)]
    if column in table.rows.column_names:
        return column if column in found or _is_text(table, column) else None
    if len(found) > 1:
        raise ConfigError(
            f"data.source {printable(table.name)!r} has several columns of files "
            f"({listed(found)}): name one of them, as in --data.image_column {found[0]}"
        )
    return found[0] if found else None


def listed_files(
    table: Table, column: str, label_column: str, *, missing_labels: bool = True
) -> LabeledFiles:
    """The files that a table lists, with their labels.

    Args:
        table: The table.
        column: Column of paths, relative to the folder of the table.
        label_column: Column of labels; without it there are none.
        missing_labels: Whether null, NaN, empty text and -1 mean that there is no label.
    """
    assert table.folder is not None
    rows = table.rows
    if empty := sum(not value for value in rows[column]):
        rows = rows.filter(lambda row: bool(row[column]), load_from_cache_file=False)
    paths = [Path(os.path.normpath(table.folder / value)) for value in rows[column]]
    labels, names, notes = column_labels(
        rows, label_column, beside=[column], missing=missing_labels
    )
    left_out = [f"{empty:,} rows without a path left out"] if empty else []
    copy, here = fingerprint(table.folder, paths, f"{table.identity[0]}:{column}")
    return LabeledFiles(
        paths=paths,
        labels=labels,
        class_names=names,
        fingerprint=copy,
        stamp=f"{here}:{table.identity[1]}",
        notes=[*table.notes, f"files are those of the column {column}", *left_out, *notes],
        labeled_by=f"column {label_column!r}" if labels else "",
    )


def _is_text(table: Table, column: str) -> bool:
    feature = table.rows.features[column]
    return isinstance(feature, datasets.Value) and "string" in feature.dtype


def _holds_paths(table: Table, column: str) -> bool:
    """Whether one of the first values names a file."""
    if not _is_text(table, column):
        return False
    folder = table.folder or Path()
    first = [value for value in table.rows[:LOOKED_AT][column] if value]
    return any(_is_file(folder / value) for value in first)


def _is_file(path: Path) -> bool:
    """Whether there is a file; not if it is no path at all, or too long for one."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _numbers(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Numbers, if all values are numbers and none is a code such as 02."""
    texts = column.to_pylist()
    values = [value for value in texts if value]
    if not values or any(CODE.match(value) for value in values):
        return column
    for kind in (int, float):
        try:
            return pyarrow.chunked_array([[kind(value) if value else None for value in texts]])
        except (ValueError, OverflowError, pyarrow.ArrowException):
            continue
    return column
