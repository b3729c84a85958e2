"""Images in tar shards and zip files, read in place without unpacking."""

import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, final

from ssl_dml.config import ConfigError
from ssl_dml.data.images import SUFFIXES, open_image, read_array
from ssl_dml.data.layout import Files, class_labels, divide
from ssl_dml.data.members import Member, members_of
from ssl_dml.data.parquet import files_of_split
from ssl_dml.data.sources import RawImage, Source, fingerprint
from ssl_dml.data.split_names import listed, printable
from ssl_dml.data.tables import labels_of, unlabeled_note
from ssl_dml.data.walk import NO_SUFFIX, Found, suffix_of
from ssl_dml.reading import parse_json

WHOLE = re.compile(r"-?[0-9]{1,18}")
MOST_METADATA = 1 << 20  # bytes of a label, or of all keys of a sample
CLASS, METADATA = ".cls", ".json"  # files beside an image, with its name up to the first dot


@dataclass(frozen=True)
class Contents:
    """What archives hold.

    Args:
        images: Each image, by its archive and name as one path.
        beside: Files that may hold the label of an image, by key and suffix.
        notes: What was left out.
    """

    images: dict[Path, Member]
    beside: dict[tuple[Path, str], dict[str, Member]]
    notes: list[str]

    @classmethod
    def read(cls, archives: Iterable[Path], *, skip_damaged: bool) -> "Contents":
        """List the members of archives.

        Args:
            archives: The archives.
            skip_damaged: Take what comes before the damage of an archive instead of raising.

        Raises:
            ConfigError: Naming an archive that is damaged or encrypted.
        """
        images: dict[Path, Member] = {}
        beside: dict[tuple[Path, str], dict[str, Member]] = {}
        others, damaged = Found(), list[str]()
        for member in (m for archive in archives for m in members_of(archive, damaged)):
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
        if damaged and not skip_damaged:
            raise ConfigError(
                f"data.source: {damaged[0]}; replace it, or take what comes before the damage with "
                "--data.on_error skip"
            )
        notes = [f"damaged archives: {listed(damaged)}"] if damaged else []
        return cls(images, beside, notes + others.notes({}))

    @property
    def digest(self) -> str:
        """Changes with the names, sizes and order of the images."""
        found = hashlib.sha256()
        for member in self.images.values():
            found.update(f"{member.name}\0{member.size}\n".encode("utf-8", "surrogateescape"))
        return found.hexdigest()

    def files(self, root: Path) -> Files:
        """The images with their folders within the archives."""
        folders = [Path(member.name).parts[:-1] for member in self.images.values()]
        return Files(root, [*self.images], folders, [*self.notes])

    def values(self, paths: Iterable[Path], column: str) -> dict[int, Any]:
        """Label of each image that has one in the file beside it, by its number.

        Args:
            paths: The images.
            column: Key of the label in a ``.json`` file.
        """
        values: dict[int, Any] = {}
        for number, path in enumerate(paths):
            found = self.beside.get(self.images[path].key, {})
            if CLASS in found:
                text = _metadata(found[CLASS]).decode("utf-8", "replace").strip()
                values[number] = int(text) if WHOLE.fullmatch(text) else text
            elif METADATA in found and column in (keys := _json(found[METADATA])):
                values[number] = keys[column]
        return values if any(value is not None for value in values.values()) else {}


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
        missing_labels: Whether null, NaN, empty text and -1 mean that there is no label.
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
        missing_labels: bool,
        max_pixels: int,
    ) -> None:
        self._members = [contents.images[path] for path in files.paths]
        values = contents.values(files.paths, label_column)
        if not values:
            self.labels, self.class_names, notes = class_labels(files, like)
            self.labeled_by = "sub-folders" if self.labels else ""
        else:
            labels, self.class_names = labels_of([*values.values()], missing=missing_labels)
            given = dict(zip(values, labels, strict=True))
            self.labels = [given.get(number, -1) for number in range(len(files.paths))]
            by_value = missing_labels and min(labels) < 0
            self.labeled_by = "files beside the images"
            notes = unlabeled_note(self.labels, by_value=by_value)
        self.notes = [*files.notes, *notes]
        self._max_pixels = max_pixels
        self.fingerprint, self.stamp = identity[0], f"{identity[1]}:{max_pixels}"

    def __len__(self) -> int:
        return len(self._members)

    def read(self, index: int) -> RawImage:  # noqa: D102 - documented in Source
        member = self._members[index]
        data = io.BytesIO(member.read())
        if suffix_of(Path(member.name)) == ".npy":
            return read_array(data, self._max_pixels)
        return open_image(data, self._max_pixels)

    def name(self, index: int) -> str:  # noqa: D102
        member = self._members[index]
        return printable(f"{member.archive}/{member.name}")


def open_archives(
    path: Path,
    archives: list[Path],
    split: str,
    *,
    use_splits: bool,
    label_column: str,
    missing_labels: bool,
    max_pixels: int,
    skip_damaged: bool,
) -> ArchiveSource | None:
    """Open the images of a split; None if there is no such split.

    Splits are told by the names of the archives, or else of the folders in them.

    Args:
        path: What the user named.
        archives: The archives there.
        split: ``"train"`` or ``"test"``.
        use_splits: Whether names tell the splits.
        label_column: Key of the label in a ``.json`` file.
        missing_labels: Whether null, NaN, empty text and -1 mean that there is no label.
        max_pixels: An image of more pixels is damaged.
        skip_damaged: Take what comes before the damage of an archive instead of raising.

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
    contents = Contents.read(archives, skip_damaged=skip_damaged)
    if not contents.images:
        looked = "; ".join(["no image in it", *contents.notes])
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
        identity=fingerprint(root, archives, f"{split}:{contents.digest}"),
        label_column=label_column,
        missing_labels=missing_labels,
        max_pixels=max_pixels,
    )


def _metadata(member: Member) -> bytes:
    """Bytes of a file that says what a sample is; none if it is damaged or too large for that."""
    if member.size > MOST_METADATA:
        return b""
    try:
        return member.read()
    except ValueError:
        return b""


def _json(member: Member) -> dict[str, Any]:
    """Keys of a ``.json`` file; none if it is damaged."""
    try:
        found = parse_json(_metadata(member))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
