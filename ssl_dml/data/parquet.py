"""Parquet files: which there are, which belong to a split, and whether they fit each other."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from ssl_dml.config import ConfigError
from ssl_dml.data.budget import free_memory
from ssl_dml.data.images import POINTER
from ssl_dml.data.layout import Files, divide
from ssl_dml.data.split_names import listed, printable, split_names
from ssl_dml.data.walk import find_files, suffix_of
from ssl_dml.reading import regular
from ssl_dml.types import one_line

PACKED = 10  # times smaller, as no images are


def parquet_files(path: Path) -> list[Path]:
    """Parquet files of a folder or a glob, or the one file; none if there are none.

    Raises:
        ConfigError: If there are files of another kind.
    """
    if path.is_dir():
        return find_files(path, is_parquet).paths
    if "*" in path.name and path.parent.is_dir():
        files = sorted(path.parent.glob(path.name))
    else:
        files = [path] if path.is_file() else []
    if not all(map(is_parquet, files)):
        hint = "name the folder that holds the samples"
        if path.suffix == ".npz":
            hint = "of sequences it may be an .npz file: set data.sequences"
        raise ConfigError(
            f"data.source {str(path)!r} is neither a folder nor a parquet file, nor .csv, .tsv, "
            f".zip or .tar; {hint}"
        )
    return files


def is_parquet(path: Path) -> bool:
    """Whether a file is parquet by its suffix."""
    return suffix_of(path) == ".parquet"


def files_of_split(path: Path, files: list[Path], split: str) -> tuple[list[Path], list[str]]:
    """Files of a split of a folder, by their names and those of sub-folders, and what to note.

    Args:
        path: The folder.
        files: All its files.
        split: ``"train"`` or ``"test"``.

    Returns:
        The files; none if no name tells that they are of this split, but all for train if no
        name tells any split.

    Raises:
        ConfigError: If names of splits stand among others, or files are in unlike folders.
    """
    inside = [(*file.relative_to(path).parts[:-1], file.stem) for file in files]
    train, test = divide(Files(path, files, inside, tables=True), split=split)
    mine = train if split == "train" else test
    paths = [] if mine is None else mine.paths
    places = {_place(file) for file in paths}
    if len(places) > 1:
        names = listed(sorted(str(place.relative_to(path)) for place in places))
        raise ConfigError(
            f"data.source {str(path)!r} holds tables in several folders ({names}): name one of them"
        )
    return paths, [] if mine is None else mine.notes


def read_parquet(
    where: str, files: list[Path], *, columns: Sequence[str], skip_damaged: bool
) -> tuple[datasets.Dataset, list[str]]:
    """Read files as one table, and what to note.

    Args:
        where: The source in messages.
        files: The files.
        columns: Columns that must be alike in all files, if any has them.
        skip_damaged: Leave damaged files out instead of raising.

    Raises:
        ConfigError: If a file is damaged, or does not fit the others.
    """
    schemas: dict[Path, pyarrow.Schema] = {}
    damaged: list[str] = []
    for file in files:
        try:
            with pyarrow.parquet.ParquetFile(regular(file)) as opened:
                if not (opened.metadata.num_rows and opened.metadata.num_columns):
                    raise ValueError("it has no rows")
                schemas[file] = opened.schema_arrow
                _refuse_large(opened, file)
        except MemoryError as error:
            raise ConfigError(f"data.source {where!r}: {file} {error}") from error
        except Exception as error:  # the library raises many unrelated types
            damaged.append(f"{printable(str(file))} {_reason(file, error)}")
    if damaged and (not schemas or not skip_damaged):
        remedy = "" if skip_damaged else ", or leave damaged files out with --data.on_error skip"
        raise ConfigError(f"data.source {where!r}: {damaged[0]}; replace it{remedy}")
    notes = [f"damaged files left out: {listed(damaged)}"] if damaged else []
    kept, features = _common(where, schemas, columns)
    if odd := {name for schema in schemas.values() for name in schema.names} - {*kept}:
        notes.append(f"columns left out, which differ between files: {listed(sorted(odd))}")
    options: dict[str, Any] = {"features": features} if features else {}
    try:
        table: Any = datasets.Dataset.from_parquet(
            [glob.escape(str(file)) for file in schemas], columns=kept if odd else None, **options
        )
    except Exception as error:  # the library raises many unrelated types
        bad = next((str(file) for file in schemas if not _whole(file)), where)
        reason = one_line(_first(error), words=20)
        raise ConfigError(
            f"data.source {where!r}: {printable(bad)} cannot be read: {reason}; replace it"
        ) from error
    return table, notes


def _refuse_large(opened: pyarrow.parquet.ParquetFile, file: Path) -> None:
    """Raise if a row group, which Arrow reads at once, unpacks to more than is free.

    The metadata of a column are not asked: where they are damaged, Arrow ends the process.

    Raises:
        MemoryError: With the numbers.
    """
    metadata, free, packed = opened.metadata, free_memory(), file.stat().st_size
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        size = group.total_byte_size + 8 * group.num_rows
        # Values of a dictionary are stored once, however often they stand in a column.
        if size <= free < size * group.num_rows and size > PACKED * packed:
            size += _repeated(file, number)
        if size > free:
            raise MemoryError(
                f"unpacks to {size / 1e9:,.1f} GB in one row group, and {free / 1e9:,.1f} GB are "
                "free; write it in smaller ones"
            )


def _repeated(file: Path, group: int) -> int:
    """Bytes of all values that stand in dictionaries, which are read without unpacking them."""
    with pyarrow.parquet.ParquetFile(file) as opened:
        names = [column.path for column in opened.schema if column.physical_type == "BYTE_ARRAY"]
    with pyarrow.parquet.ParquetFile(file, read_dictionary=names) as opened:
        table = opened.read_row_group(group)
    compute: Any = pyarrow.compute  # its type stubs lack the functions
    size = 0
    for name in names:
        top, *inner = name.split(".")
        for chunk in table[top].chunks if top in table.column_names else ():
            values: Any = chunk
            for part in inner:
                values = values.field(part) if isinstance(values, pyarrow.StructArray) else values
            if isinstance(values, pyarrow.DictionaryArray):
                lengths = compute.binary_length(values.dictionary)
                size += compute.sum(lengths.take(values.indices)).as_py() or 0
    return size


def _first(error: BaseException) -> Exception:
    """What an exception was raised from, down to the first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error if isinstance(error, Exception) else Exception(str(error))


def _place(file: Path) -> Path:
    """The folder of a file; that above, if its name is that of a split."""
    folder = file.parent
    return folder.parent if split_names([folder.name], loose=True).kinds else folder


def _reason(file: Path, error: Exception) -> str:
    try:
        with file.open("rb") as opened:
            head = opened.read(len(POINTER))
    except OSError as missing:
        return f"cannot be opened: {missing.strerror}"
    if head == POINTER:
        return "is a pointer of git-lfs, not the file: run git lfs pull"
    return "is empty" if not head else f"is damaged: {one_line(error, words=12)}"


def _common(
    where: str, schemas: dict[Path, pyarrow.Schema], columns: Iterable[str]
) -> tuple[list[str], datasets.Features | None]:
    """Columns that are alike in all files; and features if numbers are whole in some only.

    Raises:
        ConfigError: If one of ``columns`` is not alike.
    """
    (first, schema), *others = schemas.items()
    if double := next((n for n in schema.names if schema.names.count(n) > 1), None):
        raise ConfigError(
            f"data.source {where!r}: {first.name} has two columns {double!r}; name one otherwise"
        )
    kept, mixed = [], []
    for name in dict.fromkeys([*columns, *schema.names]):
        kinds = {file: _kind(own, name) for file, own in schemas.items()}
        found = {*kinds.values()}
        if found == {"whole numbers", "numbers"}:
            mixed.append(name)
        elif len(found) > 1 and name in columns:
            other = next(file for file, _ in others if kinds[file] != kinds[first])
            raise ConfigError(
                f"data.source {where!r}: the column {name} is {kinds[first]} in {first.name} and "
                f"{kinds[other]} in {other.name}: write them alike, or name one of the files"
            )
        if len(found) == 1 or name in mixed:
            kept += [name] if name in schema.names else []
    features = None
    if mixed:
        features = datasets.Features.from_arrow_schema(schema)
        kinds = {name: datasets.Value("float64") for name in mixed}
        features = datasets.Features({n: kinds.get(n, features[n]) for n in kept})
    return kept, features


def _kind(schema: pyarrow.Schema, name: str) -> str:
    """Kind of a column; widths of numbers and forms of text are no differences."""
    if name not in schema.names:
        return "missing"
    kind: Any = schema.field(name).type
    kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    if pyarrow.types.is_integer(kind):
        return "whole numbers"
    if pyarrow.types.is_floating(kind):
        return "numbers"
    text = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
    return "text" if text else str(kind)


def _whole(file: Path) -> bool:
    """Whether every value of a file can be read."""
    try:
        pyarrow.parquet.read_table(file)
    except Exception:  # the library raises many unrelated types
        return False
    return True
