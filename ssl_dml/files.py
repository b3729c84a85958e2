"""Files and folders that are whole or not there."""

import errno
import fcntl
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# What file systems answer that synchronize no folders, such as network mounts.
REFUSALS = {
    *(errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS),
    *(errno.EBADF, errno.EISDIR, errno.EACCES, errno.EPERM),
}


@contextmanager
def replacing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """A new file or folder beside a path, which takes its place if nothing is raised.

    It is locked while it is written, so that :func:`remove_leftovers` knows it from what a kill
    has left.

    Args:
        path: What is to be replaced.
        folder: Whether it is a folder.
    """
    beside, descriptor = _make(path, folder=folder)
    try:
        yield beside
        for written in beside.iterdir() if folder else [beside]:
            _synchronize(written)
        if folder:
            synchronize(beside)
            _swap(beside, path)
        else:
            beside.replace(path)
    except BaseException:
        with suppress(OSError):
            remove(beside)
        raise
    finally:
        os.close(descriptor)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")


def is_part(path: Path) -> bool:
    """Whether it has the name of what is being written, by :func:`replacing`.

    >>> [is_part(Path(name)) for name in ("config.yaml.0123abcd.part", "film.part")]
    [True, False]
    """
    return re.search(r"\.[0-9a-f]{8}\.part$", path.name) is not None


def _make(path: Path, *, folder: bool) -> tuple[Path, int]:
    """An empty file or folder of an own name, locked where the file system has locks."""
    while True:
        beside = _beside(path)
        if folder:
            beside.mkdir()
        else:
            beside.touch(exist_ok=False)
        with suppress(FileNotFoundError):  # taken for a leftover before it was locked
            descriptor = os.open(beside, os.O_RDONLY)
            if _lock(descriptor) is not False and os.path.lexists(beside):
                return beside, descriptor
            os.close(descriptor)


def _swap(beside: Path, path: Path) -> None:
    """Put a folder in the place of another, which is away between two renames only."""
    former = _beside(path)
    if os.path.lexists(path):
        path.rename(former)
    beside.rename(path)
    remove(former)


def _lock(descriptor: int) -> bool | None:
    """Whether the lock could be had; None where the file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def one_at_a_time(path: Path, told: Callable[[], None]) -> Iterator[None]:
    """Hold a lock of that name against all processes that share the file system.

    It is gone afterwards, however the process ends. Where the file system has no locks, nobody
    waits.

    Args:
        path: The file that is locked.
        told: Called before waiting for another process.
    """
    descriptor = None
    while descriptor is None:
        descriptor = _held(path, told)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _held(path: Path, told: Callable[[], None]) -> int | None:
    """The locked file; None where the process that had it has removed it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)

    def take() -> None:
        if _lock(descriptor) is False:
            told()
            fcntl.flock(descriptor, fcntl.LOCK_EX)

    return locked(descriptor, path, take)


def locked(descriptor: int, path: Path, take: Callable[[], None]) -> int | None:
    """An open file once it is locked, if it still stands at its path; else it is closed.

    Args:
        descriptor: The open file.
        path: Where it was opened.
        take: Locks it, or raises.

    Returns:
        The descriptor; None where whoever had the lock has removed or replaced the file.
    """
    try:
        take()
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove what kills have left half written in a folder, and nothing that is being written.

    Without locks on the file system nobody can tell, and everything stays.
    """
    for beside in filter(is_part, folder.glob("*.part")):
        with suppress(OSError):
            descriptor = os.open(beside, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _lock(descriptor):
                    remove(beside)
            finally:
                os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, also where the machine stops."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write plain values as JSON, whole or not at all; see :func:`as_json`."""
    write_text(path, as_json(values, indent=2) + "\n")


def as_json(values: Any, *, indent: int | None = None) -> str:  # noqa: ANN401
    """JSON that every reader takes: a number that is NaN or infinite is null.

    >>> as_json({"a": [1.0, float("nan")]})
    '{"a": [1.0, null]}'
    """
    return json.dumps(_finite(values), indent=indent, allow_nan=False)


def _finite(values: Any) -> Any:  # noqa: ANN401
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def synchronize(folder: Path) -> None:
    """Put the names in a folder on the disk, where its file system does that for folders.

    Raises:
        OSError: If the disk fails; not if the file system only refuses.
    """
    try:
        _synchronize(folder)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise


def _synchronize(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
