"""What was found below a folder of many files is remembered, and checked against the folder."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any, final, overload

import numpy as np
from jaxtyping import Int64, UInt8

from ssl_dml import __version__
from ssl_dml.data.split_names import printable
from ssl_dml.files import remove_leftovers, replacing
from ssl_dml.progress import say
from ssl_dml.reading import regular

LEAST = 10_000  # files; fewer are found as quickly
SETTLED_NS = 2_000_000_000  # what changed later may change again within a tick of the clock
DRAWN = 10_000  # files that are looked at before a run, and the others beside it

# Of a file its size and time of change; of a folder the number of its inode, and the same.
Marks = Int64[np.ndarray, "paths 2"]


@final
class Paths(Sequence[Path]):
    """Paths below a folder, made when they are asked for: a million take little memory.

    >>> Paths(Path("a"), ["b", "c/d"])[1].as_posix()
    'a/c/d'

    Args:
        root: The folder.
        names: Relative to it.
    """

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root, self.names = root, names

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> "Paths": ...
    def __getitem__(self, index: int | slice) -> "Path | Paths":
        if isinstance(index, slice):
            return Paths(self.root, self.names[index])
        return self.root / self.names[index]


@final
@dataclass(frozen=True, kw_only=True)
class Known:
    """What was found below a folder.

    Args:
        names: Files of the split, relative to the folder.
        labels: Of each; None without labels.
        metadata: Plain values that are said of all; None if there is no such split.
    """

    names: list[str]
    labels: list[int] | None
    metadata: dict[str, Any] | None


def place_of(cache_dir: Path, root: Path, *others: Any) -> Path:  # noqa: ANN401
    """File that remembers a folder.

    Args:
        cache_dir: Folder of what is kept between runs.
        root: The folder.
        others: What else decides on what is found, plain values.
    """
    parts = [__version__, os.fspath(root), os.fspath(root.resolve()), *others]
    return cache_dir / f"folder-{sha256(json.dumps(parts).encode()).hexdigest()[:24]}.npz"


def remember(
    place: Path,
    root: Path,
    known: Known,
    *,
    folders: Sequence[Path],
    unsure: Sequence[Path],
    began_ns: int,
) -> None:
    """Write what was found below a folder, unless files were changed just before.

    Args:
        place: From :func:`place_of`.
        root: The folder.
        known: What was found.
        folders: All folders that were looked into.
        unsure: Files that were left out for what is in them.
        began_ns: Time before the first folder was looked into, in nanoseconds.

    Raises:
        OSError: If the disk is full.
    """
    below = [*known.names, *names_below(root, unsure)]
    places = names_below(root, folders)
    of_folders, of_files = _marks(root, places, folder=True), _marks(root, below)
    newest = max(int(of_folders[:, 1].max()), int(of_files[:, 1].max(initial=0)))
    if newest > began_ns - SETTLED_NS:
        return
    arrays = {
        "metadata": _bytes([json.dumps(known.metadata)]),
        "names": _bytes(known.names),
        "unsure": _bytes(below[len(known.names) :]),
        "labels": np.asarray(known.labels or [], np.int32),
        "folders": _bytes(places),
        "of_folders": of_folders,
        "of_files": of_files,
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(place.parent)
    with replacing(place) as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def recall(place: Path, root: Path) -> Known | None:
    """What was found below a folder, if looking again would find the same.

    The number of each folder's inode and the time of its change are compared, so that no file has
    come, gone or been renamed; and the size and time of change of files, which is what
    :func:`~ssl_dml.data.sources.fingerprint` is made of. Of more than 10,000 files these are
    10,000, the same ones each time; a process beside the run looks at all of them. If one was
    written over in its place, that is said, and the folder is no longer remembered.

    Args:
        place: From :func:`place_of`.
        root: The folder.

    Returns:
        It; None if nothing is remembered, it cannot be read, or anything has changed.
    """
    try:
        with np.load(regular(place), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        (metadata,), names = _strings(arrays["metadata"]), _strings(arrays["names"])
        below, labels = names + _strings(arrays["unsure"]), arrays["labels"].tolist()
        places, of_folders = _strings(arrays["folders"]), arrays["of_folders"]
        of_files, metadata = arrays["of_files"], json.loads(metadata)
    except Exception:  # numpy raises anything on damaged bytes
        return None
    if len(of_files) != len(below) or len(labels) not in (0, len(names)):
        return None
    if not np.array_equal(_marks(root, places, folder=True), of_folders):
        return None
    drawn = np.random.default_rng(0).permutation(len(below))[:DRAWN]
    if not np.array_equal(_marks(root, [below[one] for one in drawn]), of_files[drawn]):
        return None
    if len(below) > DRAWN and os.environ.get("LOCAL_RANK", "0") == "0":
        _look_beside(place, root, below, of_files)
    return Known(names=names, labels=labels or None, metadata=metadata)


def names_below(root: Path, paths: Sequence[Path]) -> list[str]:
    """Each path as text, relative to the folder that they are all below.

    >>> names_below(Path("."), [Path("a/b")]), names_below(Path("/x"), [Path("/x"), Path("/x/b")])
    (['a/b'], ['', 'b'])
    """
    start = len(os.fspath(root / "_")) - 1
    return [os.fspath(path)[start:] if path != root else "" for path in paths]


def _marks(root: Path, names: list[str], *, folder: bool = False) -> Marks:
    """What tells of a change, of each path; -1 and 0 for one that is gone."""
    above = os.open(root, os.O_RDONLY)  # names relative to it are found sooner

    def found() -> Iterator[int]:
        """Both marks of each path, one after the other."""
        for name in names:
            try:
                one = os.stat(name or ".", dir_fd=above)
            except (OSError, ValueError):
                yield -1
                yield 0
            else:
                yield one.st_ino if folder else one.st_size
                yield one.st_mtime_ns

    try:
        return np.fromiter(found(), np.int64, 2 * len(names)).reshape(-1, 2)
    finally:
        os.close(above)


def _look_beside(place: Path, root: Path, names: list[str], marks: Marks) -> None:
    """Compare all files in a process of its own; forget the folder, and say so, if one differs."""
    if sys.platform != "linux":
        _forget(place, root, np.array_equal(_marks(root, names), marks))
        return
    context = get_context("fork")  # which copies no names, and imports nothing
    process = context.Process(target=_compare, args=(root, names, marks), daemon=True)
    process.start()

    def wait() -> None:
        """In a thread; 1 is said by the comparison itself, and not by a signal that ends it."""
        process.join()
        _forget(place, root, process.exitcode != 1)

    Thread(target=wait, daemon=True).start()


def _forget(place: Path, root: Path, same: bool) -> None:
    if not same:
        say(
            f"warning: a file below {printable(str(root))} was written over since the folder was "
            "last looked through, and this run knows it as it was: start the run anew"
        )
        place.unlink(missing_ok=True)


def _compare(root: Path, names: list[str], marks: Marks) -> None:
    """In a process of its own: end with 0 if all files are as they were, and with 1 if not."""
    os.nice(19)
    sys.exit(0 if np.array_equal(_marks(root, names), marks) else 1)


def _bytes(strings: list[str]) -> UInt8[np.ndarray, " bytes"]:
    """Strings one after another, each with a zero byte, which no path has."""
    return np.frombuffer(b"".join(os.fsencode(one) + b"\0" for one in strings), np.uint8)


def _strings(array: UInt8[np.ndarray, " bytes"]) -> list[str]:
    return os.fsdecode(array.tobytes()).split("\0")[:-1]
