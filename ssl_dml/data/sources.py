"""Open sources of undecoded images; find the files, tables and labels of any source."""

import hashlib
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any, final

import datasets
import numpy as np
from PIL import Image

from ssl_dml.config import ConfigError

SAMPLES = Path(__file__).parent / "samples"
SAMPLE_NAMES = ("fashion_mini", "hangul")
IMAGE_TYPES = "bmp gif jpeg jpg jp2 npy pbm pgm png pnm ppm tif tiff webp"
SUFFIXES = frozenset(f".{name}" for name in IMAGE_TYPES.split())
AUDIO_SUFFIXES = frozenset([".flac", ".wav"])
TEST_FOLDERS = ("test", "val", "valid", "validation")
RawImage = Image.Image | np.ndarray


class Source(ABC):
    """Undecoded samples in a fixed order, with or without labels.

    Attributes:
        fingerprint: Changes with the names, sizes and order of the files; a copy has the same.
        stamp: Changes also when files are moved or written again.
        labels: Class of each sample, an index into ``class_names``, -1 if unknown; None without
            labels.
        class_names: Names of the classes; empty without labels.
    """

    fingerprint: str
    stamp: str
    labels: list[int] | None
    class_names: list[str]

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def read(self, index: int) -> RawImage:
        """Read one sample; channels are last in an array of an image, first in a sequence."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Name of a sample in messages."""


@final
class FolderSource(Source):
    """All images below a folder, sorted by path.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.paths = files_below(root, SUFFIXES)
        if not self.paths:
            audio = files_below(root, AUDIO_SUFFIXES)
            hint = "it holds audio: set data.sequences, as in --data.sequences.sampling_rate 16000"
            raise ConfigError(
                f"data.source {str(root)!r} holds no image; looked below it for "
                f"{' '.join(sorted(SUFFIXES))}{f'; {hint}' if audio else ''}"
            )
        self.labels, self.class_names = folder_labels(root, self.paths)
        self.fingerprint, self.stamp = fingerprint(root, self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> RawImage:  # noqa: D102 - documented in Source
        path = self.paths[index]
        return np.load(path, allow_pickle=False) if path.suffix == ".npy" else Image.open(path)

    def name(self, index: int) -> str:  # noqa: D102
        return str(self.paths[index])


@final
class TableSource(Source):
    """A table of ``datasets`` with a column of images and, optionally, one of labels.

    Args:
        table: The table.
        identity: Fingerprint and stamp of its files.
        name: Name of the table in messages.
        image_column: Column of encoded images or arrays.
        label_column: Column of numbers, strings, or lists of numbers; without it there are no
            labels.
    """

    def __init__(
        self,
        table: datasets.Dataset,
        identity: tuple[str, str],
        name: str,
        *,
        image_column: str,
        label_column: str,
    ) -> None:
        check_column(table, image_column, "data.image_column", name)
        self.fingerprint, self.stamp = (f"{part}:{image_column}" for part in identity)
        self._name = name
        feature = table.features[image_column]
        if isinstance(feature, datasets.Image):
            table = table.cast_column(image_column, datasets.Image(decode=False))
        table = in_order(table)
        array = isinstance(feature, (datasets.Array2D, datasets.Array3D))
        # Reading a cell of Arrow's own column is about seventy times faster.
        self._images = table[image_column] if array else table.data.column(image_column)
        self.labels, self.class_names = column_labels(table, label_column)

    def __len__(self) -> int:
        return len(self._images)

    def read(self, index: int) -> RawImage:  # noqa: D102 - documented in Source
        cell = self._images[index]
        cell = cell.as_py() if hasattr(cell, "as_py") else cell
        if isinstance(cell, dict):
            data = cell["bytes"]
            return Image.open(io.BytesIO(data) if data is not None else cell["path"])
        return Image.open(io.BytesIO(cell)) if isinstance(cell, bytes) else np.asarray(cell)

    def name(self, index: int) -> str:  # noqa: D102
        return f"{self._name}, row {index}"


def open_source(where: str, split: str, *, image_column: str, label_column: str) -> Source | None:
    """Open the images that ``data.source`` names; None if it has no such split.

    Args:
        where: An embedded sample, a folder of images, parquet files (a file, a folder or a
            glob), a folder saved by ``datasets``, or the name of a data set on the hub.
        split: ``"train"`` or ``"test"``; a folder of images may hold it as a sub-folder.
        image_column: Column of images in a table.
        label_column: Column of labels in a table.

    Raises:
        ConfigError: If the source does not exist or holds no images.
    """
    path = locate(where)
    if is_folder_of_files(path):
        inside = split_folder(path, split)
        return None if inside is None else FolderSource(inside)
    opened = open_table(where, path, split)
    if opened is None:
        return None
    table, identity = opened
    return TableSource(table, identity, where, image_column=image_column, label_column=label_column)


def locate(where: str) -> Path:
    """Path of an embedded sample, or of a file or folder, whether it exists or not."""
    return SAMPLES / where if where in SAMPLE_NAMES else Path(where).expanduser()


def is_folder_of_files(path: Path) -> bool:
    """Whether a path is a folder of image or audio files, not of a table."""
    return path.is_dir() and not (_is_saved(path) or any(path.glob("*.parquet")))


def split_folder(path: Path, split: str) -> Path | None:
    """Sub-folder of a split if there is one called train; otherwise the whole folder is train."""
    names = ("train",) if split == "train" else TEST_FOLDERS
    inside = next((path / name for name in names if (path / name).is_dir()), None)
    if inside is not None and (path / "train").is_dir():
        return inside
    return path if split == "train" else None


def files_below(root: Path, suffixes: Container[str]) -> list[Path]:
    """Find files with one of these suffixes, sorted by path; skip hidden ones."""
    found: list[Path] = []
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += [
            Path(folder) / name
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes
        ]
    return sorted(found)


def folder_labels(root: Path, paths: list[Path]) -> tuple[list[int] | None, list[str]]:
    """Labels and class names, if every file lies in one of at least two sub-folders."""
    inside = [path.relative_to(root).parts for path in paths]
    names = sorted({parts[0] for parts in inside})
    if len(names) == 1 or any(len(parts) == 1 for parts in inside):
        return None, []
    ids = {name: i for i, name in enumerate(names)}
    return [ids[parts[0]] for parts in inside], names


def _is_saved(path: Path) -> bool:
    return any((path / name).exists() for name in ("dataset_info.json", "dataset_dict.json"))


def open_table(
    where: str, path: Path, split: str
) -> tuple[datasets.Dataset, tuple[str, str]] | None:
    """Open a table, with fingerprint and stamp of its files; None if it has no such split."""
    if path.is_dir() and _is_saved(path):
        saved = datasets.load_from_disk(str(path))
        table = saved.get(split) if isinstance(saved, datasets.DatasetDict) else saved
        if table is None or (table is saved and split != "train"):
            return None
        return table, fingerprint(path, (p for p in path.rglob("*") if p.is_file()), split)
    files = _parquet_files(path, split)
    if files is None:
        return _open_hub(where, split)
    if not files:
        return None
    table = datasets.Dataset.from_parquet([str(f) for f in files], keep_in_memory=False)
    return table, fingerprint(path, files, split)  # pyright: ignore[reportReturnType]


def _parquet_files(path: Path, split: str) -> list[Path] | None:
    """Parquet files of a split; empty if the split has none; None if there are no files at all."""
    if path.is_dir():
        files = sorted(path.glob("*.parquet"))
        mine = [f for f in files if f.name.startswith(split)]
        named = any(f.name.startswith(("train", "test")) for f in files)
        return mine if named else (files if split == "train" else [])
    if "*" in path.name and path.parent.is_dir():
        files = sorted(path.parent.glob(path.name))
    else:
        files = [path] if path.is_file() else []
    if not files:
        return None
    if any(f.suffix != ".parquet" for f in files):
        hint = "name the folder that holds the samples"
        if path.suffix == ".npz":
            hint = "of sequences it may be an .npz file: set data.sequences"
        raise ConfigError(
            f"data.source {str(path)!r} is neither a folder nor a parquet file; {hint}"
        )
    return files if split == "train" else []


def _open_hub(where: str, split: str) -> tuple[datasets.Dataset, tuple[str, str]] | None:
    missing = (
        f"data.source {where!r}: there is no such file or folder, and it is not an embedded "
        f"sample ({', '.join(SAMPLE_NAMES)})"
    )
    if where.startswith((".", "/", "~")) or where.count("/") > 1 or "\\" in where:
        raise ConfigError(missing)
    try:
        splits = datasets.get_dataset_split_names(where)
        if split not in splits:
            return None
        table: Any = datasets.load_dataset(where, split=split)
    except Exception as error:  # the hub client raises many unrelated types
        offline = isinstance(error, ConnectionError) or "offline" in type(error).__name__.lower()
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        reason = "the hub cannot be reached: there is no network" if offline else reason
        raise ConfigError(f"{missing}; {reason}") from error
    identity = f"{where}:{split}:{table._fingerprint}"
    return table, (identity, identity)


def check_column(table: datasets.Dataset, column: str, key: str, name: str) -> None:
    """Raise unless a table has a column and is not empty.

    Raises:
        ConfigError: Naming ``key``, the key of the configuration that names the column.
    """
    if column not in table.column_names:
        raise ConfigError(
            f"{key} {column!r} is not a column of {name}; it has {', '.join(table.column_names)}"
        )
    if not len(table):
        raise ConfigError(f"data.source {name!r} is empty")


def in_order(table: datasets.Dataset) -> datasets.Dataset:
    """Write out a selection or shuffle of rows, so that Arrow's columns have the same order."""
    return table if getattr(table, "_indices", None) is None else table.flatten_indices()


def column_labels(table: datasets.Dataset, column: str) -> tuple[list[int] | None, list[str]]:
    """Labels and class names from a column of a table, if it has that column."""
    if column not in table.column_names:
        return None, []
    feature = table.features[column]
    values = list(table[column])
    if isinstance(feature, datasets.ClassLabel):
        return [-1 if value is None else value for value in values], list(feature.names)
    return labels_of(values)


def labels_of(values: list[Any]) -> tuple[list[int], list[str]]:
    """Labels and class names from one value for each sample; None becomes -1.

    A list of numbers is one value; its name has spaces between the numbers.

    >>> labels_of(["cat", None, "ant", "cat"])
    ([1, -1, 0, 1], ['ant', 'cat'])
    """
    values = [tuple(value) if isinstance(value, list) else value for value in values]
    names = sorted({value for value in values if value is not None})
    ids = {None: -1, **{name: i for i, name in enumerate(names)}}
    words = [" ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in names]
    return [ids[value] for value in values], words


def fingerprint(root: Path, paths: Iterable[Path], extra: str = "") -> tuple[str, str]:
    """Digest of relative paths and sizes; and one that adds the folder and times of change."""
    base = root if root.is_dir() else root.parent
    copy, here = hashlib.sha256(extra.encode()), hashlib.sha256(f"{extra}{base.resolve()}".encode())
    for path in sorted(paths):
        stat = path.stat()
        line = f"{path.relative_to(base)}\0{stat.st_size}\n"
        copy.update(line.encode())
        here.update(f"{line}{stat.st_mtime_ns}\n".encode())
    return copy.hexdigest(), here.hexdigest()
