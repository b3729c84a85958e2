"""What an index consists of: one small file, replaced as a whole when rows come or go."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from filelock import FileLock, Timeout

from ssl_dml.files import remove_leftovers, replacing, synchronize, write_json
from ssl_dml.index.segment import Kind, RowType, SegmentInfo
from ssl_dml.reading import read_format, reading, regular
from ssl_dml.tables import TableInfo, info_from
from ssl_dml.types import ConfigError, one_line, shown

MANIFEST, FORMAT, LOCK = "index.json", 1, "index.lock"
OWN = re.compile(r"\d{5,}\.[a-z_]+")  # files that a manifest names, or once did
MOST = 2**48


class Row(NamedTuple):
    """A row of an index.

    Attributes:
        id: Number that the row keeps as long as the index is not built again.
        path: Path or key of its sample.
        label: Its class, from 0; -1 without.
        class_name: Name of the class, where there is one.
        source: Where the sample is, as the table named it.
    """

    id: int
    path: str
    label: int
    class_name: str | None
    source: str


@dataclass(frozen=True, kw_only=True)
class IndexInfo:
    """What is in an index, and how it is searched.

    Args:
        table: What the table that it was built from says of itself, with the names of all classes.
        rows: Rows that can be found.
        kind: How the largest part is searched.
        recall: Part of the 10 nearest rows that its search finds, measured on a sample.
        segments: Parts that are searched one after another.
    """

    table: TableInfo
    rows: int
    kind: Kind
    recall: float
    segments: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The segments of an index, and what holds for all of its rows.

    Args:
        table: The table that the index was built from.
        memory: Bytes that a search may take.
        side: Largest side of a thumbnail in pixels; 0 for none.
        segments: Parts of the index, in the order of their ids.
        removed: Number of the file of ids that were removed; None if there are none.
    """

    table: TableInfo
    memory: int
    side: int
    segments: tuple[SegmentInfo, ...] = ()
    removed: int | None = None

    @property
    def ids(self) -> int:
        """Number of rows there ever were; ids are below it."""
        return self.segments[-1].first + self.segments[-1].rows if self.segments else 0

    @property
    def next_number(self) -> int:
        """A number that no file of the index has."""
        numbers = [one.number for one in self.segments]
        return 1 + max([*numbers, -1 if self.removed is None else self.removed])

    def removed_ids(self, folder: Path) -> np.ndarray:
        """Ids of rows that were removed, ascending."""
        if self.removed is None:
            return np.empty(0, np.int64)
        path = folder / f"{self.removed:05}.removed"
        with reading(str(path), "build the index again"):
            found = np.fromfile(regular(path), np.int64)
            if len(found) and (found.min() < 0 or found.max() >= self.ids):
                raise ValueError("is damaged")
        return found

    def write(self, folder: Path) -> None:
        """Make it what the folder consists of; files that it does not name are removed."""
        synchronize(folder)
        write_json(folder / MANIFEST, {"format": FORMAT, **asdict(self)})
        synchronize(folder)
        remove_others(folder, self)


def read_manifest(folder: Path) -> Manifest:
    """What an index consists of.

    Raises:
        ConfigError: If the folder is no index, or one of another version.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise ConfigError(
            f"{folder} is no index: it has no {MANIFEST}; ssl_dml search build TABLE writes one"
        )
    with reading(str(path), "build the index again", foreign=False):
        return _manifest(read_format(path, FORMAT, "build the index again"))


def _present(folder: Path) -> Manifest | None:
    return read_manifest(folder) if (folder / MANIFEST).exists() else None


def _manifest(values: dict[str, Any]) -> Manifest:
    segments = tuple(map(_segment, values["segments"]))
    if [one.first for one in segments] != np.cumsum([0, *(s.rows for s in segments)])[:-1].tolist():
        raise ValueError("has segments that do not follow each other")
    removed = values["removed"] if values["removed"] is None else _whole(values["removed"])
    memory, side = _whole(values["memory"]), _whole(values["side"])
    return Manifest(
        table=info_from(values["table"]),
        memory=memory,
        side=side,
        segments=segments,
        removed=removed,
    )


def _segment(values: dict[str, Any]) -> SegmentInfo:
    info = SegmentInfo(**values)
    for value in (info.number, info.first, info.rows, info.effort):
        _whole(value)
    known = info.row_type in get_args(RowType) and info.kind in get_args(Kind)
    if not known or info.effort < 1 or not isinstance(info.source + info.digest, str):
        raise ValueError(f"has a segment that cannot be: {shown(values)}")
    return info


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < MOST:
        raise ValueError(f"has {shown(value)} where a number belongs")
    return value


def remove_others(folder: Path, manifest: Manifest | None) -> None:
    """Remove files of segments that are not part of the index, or no longer."""
    numbers = {one.number for one in manifest.segments} if manifest else set()
    numbers |= {manifest.removed} if manifest and manifest.removed is not None else set()
    for path in folder.iterdir():
        if OWN.fullmatch(path.name) and int(path.name.partition(".")[0]) not in numbers:
            with suppress(OSError):  # the next writer tries again
                path.unlink()


def write_removed(folder: Path, number: int, ids: np.ndarray) -> None:
    """Write a file of ids, ascending."""
    with replacing(folder / f"{number:05}.removed") as beside:
        ids.astype(np.int64).tofile(beside)


@contextmanager
def writing(folder: Path) -> Iterator[Manifest | None]:
    """Be the only one to write an index; what an interrupted writer has left is removed.

    Yields:
        What the index consists of; None if there is none yet.

    Raises:
        ConfigError: If another process writes it, or the folder is that of something else.
    """
    if folder.is_dir() and not (folder / MANIFEST).exists():
        others = [p.name for p in folder.iterdir() if p.name != LOCK and not OWN.match(p.name)]
        others = [name for name in others if not name.startswith(f"{MANIFEST}.")]
        if others:
            raise ConfigError(
                f"{folder} holds {shown(others[0])} and is no index; name another folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"{folder} is being written by another process; wait for it") from None
    with held:
        manifest = _present(folder)
        remove_leftovers(folder)
        remove_others(folder, manifest)
        try:
            yield manifest
        except BaseException as error:
            # It may have failed when the new manifest was already in place.
            remove_others(folder, _present(folder))
            if isinstance(error, OSError):
                whole = "; the index in it is whole" if (folder / MANIFEST).exists() else ""
                raise OSError(f"{folder} cannot be written: {one_line(error)}{whole}") from error
            raise
