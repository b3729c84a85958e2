"""Tar and zip files: which there are, and what is in them."""

import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

from ssl_dml.config import ConfigError
from ssl_dml.data.budget import take
from ssl_dml.data.images import SUFFIXES
from ssl_dml.data.split_names import printable
from ssl_dml.data.walk import find_files, suffix_of
from ssl_dml.reading import regular
from ssl_dml.types import one_line

ARCHIVES = (".tar", ".zip")
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
ENCRYPTED = 0x1  # bit of a member's flags
OPEN_AT_ONCE = 64
MOST_BYTES = 1 << 30  # of a member


@final
@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Args:
        archive: The archive.
        name: Name in it.
        offset: Where its bytes begin; -1 in a zip file, where they are found by name.
        size: Number of bytes.
    """

    archive: Path
    name: str
    offset: int
    size: int

    @property
    def key(self) -> tuple[Path, str]:
        """Name up to the first dot of its last part, which files of one sample share."""
        folder, slash, last = self.name.rpartition("/")
        return self.archive, f"{folder}{slash}{last.partition('.')[0]}"

    def read(self) -> bytes:
        """Read its bytes.

        Raises:
            ValueError: If they are damaged, or more than 1 GiB.
        """
        if self.size > MOST_BYTES:
            raise ValueError(
                f"has {self.size:,} bytes; of an archive at most {MOST_BYTES:,} are read"
            )
        take(self.size)
        if self.offset < 0:
            try:
                return _zip(self.archive, threading.get_ident()).read(self.name)
            except MemoryError:
                raise
            except Exception as error:  # decompressors raise anything on damaged bytes
                raise ValueError(one_line(error)) from error
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise ValueError("is cut off: the archive ends within it")
        return data


def archives_at(path: Path) -> list[Path]:
    """Archives of a path: itself, those that a glob finds, or those of a folder without images.

    Raises:
        ConfigError: If the path is an archive that cannot be read in place.
    """
    if path.suffix.lower() in COMPRESSED and path.is_file():
        raise ConfigError(
            f"data.source {printable(str(path))!r} is compressed, so its images cannot be read in "
            "place: unpack it, or pack it as .zip or .tar"
        )
    if path.is_dir():
        found = find_files(path, lambda file: is_archive(file) or suffix_of(file) in SUFFIXES)
        return found.paths if all(map(is_archive, found.paths)) else []
    paths = sorted(path.parent.glob(path.name)) if "*" in path.name else [path]
    return paths if all(p.is_file() and is_archive(p) for p in paths) else []


def is_archive(path: Path) -> bool:
    """Whether a file is a tar or zip file by its suffix."""
    return suffix_of(path) in ARCHIVES


def members_of(archive: Path, damaged: list[str]) -> Iterator[Member]:
    """Members up to where the archive is damaged, which is then added to ``damaged``."""
    try:
        regular(archive)
        yield from _zip_members(archive) if suffix_of(archive) == ".zip" else _tar_members(archive)
    except ConfigError:
        raise
    except Exception as error:  # libraries raise anything on damaged bytes
        reason = one_line(error) if archive.exists() and archive.stat().st_size else "is empty"
        reason = reason if reason == "is empty" else f"cannot be read: {reason}"
        damaged.append(f"{printable(str(archive))} {reason}")


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.flag_bits & ENCRYPTED:
                raise ConfigError(
                    f"data.source {printable(str(archive))!r} is encrypted: unpack it"
                )
            if not info.is_dir():
                yield Member(archive, info.filename, -1, info.file_size)


def _tar_members(archive: Path) -> Iterator[Member]:
    opened: Any  # its type stubs lack the list of members
    with tarfile.open(archive, "r:") as opened:
        for info in opened:
            if info.isfile():
                yield Member(archive, info.name, info.offset_data, info.size)
            opened.members = []  # it would keep a large object of each


@lru_cache(OPEN_AT_ONCE)
def _zip(path: Path, thread: int) -> zipfile.ZipFile:  # noqa: ARG001 - one for each thread
    return zipfile.ZipFile(path)
