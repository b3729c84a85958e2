"""Images in tar shards and zip files, read in place without unpacking."""

import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, final

import numpy as np

from ssl_dml.config import ConfigError
from ssl_dml.data.images import SUFFIXES, open_image
from ssl_dml.data.layout import Files, class_labels, divide
from ssl_dml.data.parquet import files_of_split
from ssl_dml.data.sources import RawImage, Source, fingerprint
from ssl_dml.data.split_names import printable
from ssl_dml.data.tables import labels_of, unlabeled_note
from ssl_dml.data.walk import NO_SUFFIX, Found, find_files, suffix_of
from ssl_dml.types import one_line

ARCHIVES = (".tar", ".zip")
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
ENCRYPTED = 0x1  # bit of a member's flags
CLASS, METADATA = ".cls", ".json"  # files beside an image, with its name up to the first dot
OPEN_AT_ONCE = 64


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
        """What files of one sample have in common: the name up to the first dot of its last part."""
        folder, slash, last = self.name.rpartition("/")
        return self.archive, f"{folder}{slash}{last.partition('.')[0]}"

    def read(self) -> bytes:
        """Read its bytes.

        Raises:
            ValueError: If they are damaged.
        """
        if self.offset < 0:
            try:
                return _zip(self.archive, threading.get_ident()).read(self.name)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
                raise ValueError(one_line(error)) from error
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise ValueError("is cut off: the archive ends within it")
        return data


@dataclass(frozen=True)
class Contents:
    """What archives hold.

    Args:
        images: Each image, by its archive and name as one path.
        beside: Files that may hold the label of an image, by key and suffix.
        left_out: Other files, counted by suffix.
    """

    images: dict[Path, Member]
    beside: dict[tuple[Path, str], dict[str, Member]]
    left_out: Found

    @classmethod
    def read(cls, archives: Iterable[Path]) -> "Contents":
        """List the members of archives.

        Raises:
            ConfigError: Naming an archive that is damaged, compressed or encrypted.
        """
        images: dict[Path, Member] = {}
        beside: dict[tuple[Path, str], dict[str, Member]] = {}
        others = Found()
        for member in (m for archive in archives for m in _members(archive)):
            path = PurePosixPath(member.name)
            suffix = suffix_of(Path(path.name))
            if any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
                continue
            if suffix in SUFFIXES:
                images[member.archive / path] = member
            elif suffix in (CLASS, METADATA):
                beside.setdefault(member.key, {})[suffix] = member
            else:
                others.left_out[suffix or NO_SUFFIX] += 1
        return cls(images, beside, others)

    def files(self, root: Path) -> Files:
        """The images with their folders within the archives."""
        folders = [Path(member.name).parts[:-1] for member in self.images.values()]
        return Files(root, [*self.images], folders, self.left_out.notes({}))

    def values(self, paths: Iterable[Path], column: str) -> list[Any] | None:
        """Label of each image from the file beside it; None if no file holds any.

        Args:
            paths: The images.
            column: Key of the label in a ``.json`` file.
        """
        if not self.beside:
            return None
        values: list[Any] = []
        for path in paths:
            found = self.beside.get(self.images[path].key, {})
            if CLASS in found:
                text = found[CLASS].read().decode("utf-8", "replace").strip()
                values.append(int(text) if text.lstrip("-").isdecimal() else text)
            else:
                values.append(_json(found[METADATA]).get(column) if METADATA in found else None)
        return values if any(value is not None for value in values) else None


@final
class ArchiveSource(Source):
    """Images in tar or zip files, in the order of archives and their members.

    A file ``.cls`` or ``.json`` beside an image gives its label, as WebDataset has it; without
    such files, sub-folders within the archives are classes.

    Args:
        contents: What the archives hold.
        files: The images of the split.
        like: Images whose classes lie as deep, if there are such.
        identity: Fingerprint and stamp of the archives.
        label_column: Key of the label in a ``.json`` file.
        max_pixels: An image of more pixels is damaged.
    """

    def __init__(
        self,
        contents: Contents,
        files: Files,
        like: Files | None,
        *,
        identity: tuple[str, str],
        label_column: str,
        max_pixels: int,
    ) -> None:
        self._members = [contents.images[path] for path in files.paths]
        values = contents.values(files.paths, label_column)
        if values is None:
            self.labels, self.class_names, notes = class_labels(files, like)
            self.labeled_by = "sub-folders" if self.labels else ""
        else:
            self.labels, self.class_names = labels_of(values)
            self.labeled_by, notes = "files beside the images", unlabeled_note(self.labels)
        self.notes = [*files.notes, *notes]
        self._max_pixels = max_pixels
        self.fingerprint, self.stamp = identity[0], f"{identity[1]}:{max_pixels}"

    def __len__(self) -> int:
        return len(self._members)

    def read(self, index: int) -> RawImage:  # noqa: D102 - documented in Source
        member = self._members[index]
        data = io.BytesIO(member.read())
        if suffix_of(Path(member.name)) == ".npy":
            return np.load(data, allow_pickle=False)
        return open_image(data, self._max_pixels)

    def name(self, index: int) -> str:  # noqa: D102
        member = self._members[index]
        return printable(f"{member.archive}/{member.name}")


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


def open_archives(
    path: Path,
    archives: list[Path],
    split: str,
    *,
    use_splits: bool,
    label_column: str,
    max_pixels: int,
) -> ArchiveSource | None:
    """Open the images of a split; None if there is no such split.

    Splits are told by the names of the archives, or else of the folders in them.

    Args:
        path: What the user named.
        archives: The archives there.
        split: ``"train"`` or ``"test"``.
        use_splits: Whether names tell the splits.
        label_column: Key of the label in a ``.json`` file.
        max_pixels: An image of more pixels is damaged.

    Raises:
        ConfigError: If an archive is damaged or there is no image.
    """
    root, notes = path if path.is_dir() else path.parent, list[str]()
    if split != "train" and not use_splits:
        return None
    if use_splits and path.is_dir():
        mine, notes = files_of_split(path, archives, split)
        archives = mine if notes else archives
    if not archives:
        return None
    contents = Contents.read(archives)
    if not contents.images:
        looked = "; ".join(["no image in it", *contents.left_out.notes({})])
        raise ConfigError(f"data.source {printable(str(path))!r}: {looked}")
    files = contents.files(path)
    train, test = divide(files, split=split) if use_splits and not notes else (files, files)
    chosen, like = (train, None) if split == "train" else (test, train)
    if chosen is None:
        return None
    chosen.notes[:0] = notes
    return ArchiveSource(
        contents,
        chosen,
        like,
        identity=fingerprint(root, archives, split),
        label_column=label_column,
        max_pixels=max_pixels,
    )


@lru_cache(OPEN_AT_ONCE)
def _zip(path: Path, thread: int) -> zipfile.ZipFile:  # noqa: ARG001 - one for each thread
    return zipfile.ZipFile(path)


def _members(archive: Path) -> Iterator[Member]:
    try:
        if archive.suffix.lower() == ".zip":
            with zipfile.ZipFile(archive) as opened:
                for info in opened.infolist():
                    if info.flag_bits & ENCRYPTED:
                        raise ConfigError(f"data.source {str(archive)!r} is encrypted: unpack it")
                    if not info.is_dir():
                        yield Member(archive, info.filename, -1, info.file_size)
            return
        with tarfile.open(archive, "r:") as opened:
            for info in opened:
                if info.isfile():
                    yield Member(archive, info.name, info.offset_data, info.size)
                opened.members = []  # it would keep a large object of each
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError) as error:
        with archive.open("rb") as file:
            empty = not file.read(1)
        reason = "is empty" if empty else f"cannot be read: {one_line(error)}"
        raise ConfigError(
            f"data.source: {printable(str(archive))} {reason}; replace it, or remove it"
        ) from error


def _json(member: Member) -> dict[str, Any]:
    """Keys of a ``.json`` file; none if it is damaged."""
    try:
        found = json.loads(member.read())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
