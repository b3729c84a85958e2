"""Read what may be anything: regular files alone, no more of them than is wanted, in one line."""

import hashlib
import json
import os
import stat
import traceback
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from ssl_dml.types import ConfigError, one_line, shown

PACKAGE = Path(__file__).parent
MOST_TEXT = 1 << 26  # bytes of a file of metadata or text
BLOCK = 1 << 20
# Reading a pipe waits, and a device has no end.
KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def regular(path: Path) -> Path:
    """The path itself, if it is that of a file or of a link to one.

    >>> regular(Path("/dev/null"))
    Traceback (most recent call last):
    ValueError: is a device, and no file

    Raises:
        ValueError: If it is something else; the message does not name it.
        OSError: If there is nothing.
    """
    _check(path.stat().st_mode)
    return path


def read_bytes(path: Path, most: int = MOST_TEXT) -> bytes:
    """The content of a file.

    Args:
        path: The file, or a link to one.
        most: Largest number of bytes, whatever the file system says of its size.

    Raises:
        ValueError: If it is no file, or larger; the message does not name it.
        OSError: If it cannot be read.
    """
    regular(path)  # a device may act on being opened
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        _check(found.st_mode)  # of what was opened, which may be another
        size, blocks = found.st_size, list[bytes]()
        while size <= most and (block := file.read(BLOCK)):
            blocks.append(block)
            size = max(size, len(blocks) * BLOCK - BLOCK + len(block))
    if size > most:
        raise ValueError(f"has {size:,} bytes; at most {most:,} are read")
    return b"".join(blocks)


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """The content of a file in UTF-8; the rest as :func:`read_bytes`."""
    text = read_bytes(path, most).decode("utf-8")
    return text.replace("\r\n", "\n")


def read_json(path: Path, most: int = MOST_TEXT) -> Any:  # noqa: ANN401 - whatever it says
    """The values of a file of JSON; the rest as :func:`read_bytes`."""
    return parse_json(read_bytes(path, most))


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401
    """The values of a text of JSON.

    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: is no JSON: maximum recursion depth exceeded

    Raises:
        ValueError: If it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = one_line(error).partition(" while ")[0]
        raise ValueError(f"is no JSON: {reason}") from error


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with regular(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_format(path: Path, version: int, remedy: str) -> dict[str, Any]:
    """The values of a file of JSON that says of which ``format`` it is.

    Args:
        path: The file.
        version: The format that is understood.
        remedy: What to do about another one.

    Raises:
        ConfigError: Naming it, if it is of another format.
        ValueError: If it is no such file; the message does not name it.
    """
    values = read_json(path)
    if not isinstance(values, dict) or "format" not in values:
        raise ValueError("does not say which format it is of")
    if values["format"] != version:
        raise ConfigError(
            f"{path} is of format {shown(values['format'])}, and this version reads {version}; "
            f"{remedy}"
        )
    return values


@contextmanager
def reading(what: str, remedy: str = "", *, foreign: bool = True) -> Iterator[None]:
    """Tell in one line what was being read when a library raises.

    >>> with reading("data.source 'a.zip'", "replace it"):
    ...     raise EOFError("no more data")
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: data.source 'a.zip' cannot be read: no more data; replace it

    Args:
        what: Key and value, or the path.
        remedy: What to do about it.
        foreign: Whether only what others raise is told. A mistake of this package, such as a
            ``TypeError`` in its own lines, keeps its traceback; false if those lines handle plain
            values that a stranger wrote.

    Raises:
        ConfigError: With the reason.
    """
    end = f"; {remedy}" if remedy else ""
    try:
        yield
    except ConfigError:
        raise
    except MemoryError as error:
        raise ConfigError(
            f"{what} needs more memory than there is: {one_line(error)}{end}"
        ) from error
    except Exception as error:  # libraries raise anything on damaged bytes
        told = isinstance(error, (ValueError, OSError))
        if foreign and not told and raised_here(error):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else None
        reason = reason or one_line(error)
        verb = "" if reason.startswith(("is ", "has ")) else "cannot be read: "
        raise ConfigError(f"{what} {verb}{reason}{end}") from error


def raised_here(error: BaseException) -> bool:
    """Whether the statement that raised stands in a file of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and PACKAGE in Path(frames[-1].filename).parents


def unpackable(archive: zipfile.ZipFile) -> list[str]:
    """Names of what is in an archive, if all of it fits in memory.

    Raises:
        MemoryError: With both sizes, if not.
    """
    size, free = sum(i.file_size for i in archive.infolist()), psutil.virtual_memory().available
    if size > free:
        raise MemoryError(f"it unpacks to {size / 1e9:,.1f} GB; {free / 1e9:,.1f} GB are free")
    return archive.namelist()


def _check(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ValueError(f"is {KINDS.get(stat.S_IFMT(mode), 'a device')}, and no file")
