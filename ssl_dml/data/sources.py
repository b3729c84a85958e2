"""The interface of sources: undecoded samples in a fixed order, and what identifies them."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import final, overload

import numpy as np
import pyarrow as pa
from PIL import Image

RawImage = Image.Image | np.ndarray


class Source(ABC):
    """Undecoded samples in a fixed order, with or without labels.

    Attributes:
        fingerprint: Changes with the names, sizes and order of the files; a copy has the same.
        stamp: Changes also when files are moved or written again.
        labels: Class of each sample, an index into ``class_names``, -1 if unknown; None without
            labels.
        class_names: Names of the classes; empty without labels.
        notes: What was decided or left out on opening, a short sentence each.
        labeled_by: Where the labels are from, in words; empty without labels.
        further: Columns of a table that are neither images nor labels, by name.
    """

    fingerprint: str
    stamp: str
    labels: list[int] | None
    class_names: list[str]
    notes: list[str]
    labeled_by: str = ""
    further: Mapping[str, pa.ChunkedArray] = MappingProxyType({})

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def read(self, index: int) -> RawImage:
        """Read one sample; channels are last in an array of an image, first in a sequence."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Path of a sample, or table and row."""


@final
class SampleNames(Sequence[str]):
    """Path or key of each sample of a data set, made when it is asked for.

    Args:
        source: The samples.
        rows: Position of each in the source.
    """

    def __init__(self, source: Source, rows: Sequence[int]) -> None:
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "SampleNames": ...
    def __getitem__(self, index: int | slice) -> "str | SampleNames":
        if isinstance(index, slice):
            return SampleNames(self.source, self.rows[index])
        return self.source.name(int(self.rows[index]))

    def at(self, indices: Iterable[int]) -> "SampleNames":
        """Names of some samples, in this order."""
        return SampleNames(self.source, [self.rows[index] for index in indices])


def fingerprint(root: Path, paths: Iterable[Path], extra: str = "") -> tuple[str, str]:
    """Digest of relative paths and sizes; and one that adds the folder and times of change."""
    base = root if root.is_dir() else root.parent
    copy, here = hashlib.sha256(extra.encode()), hashlib.sha256(extra.encode())
    here.update(os.fsencode(base.resolve()))
    for path in sorted(paths):
        try:
            stat = path.stat()
        except (OSError, ValueError):  # no file, or no path; reading will report it
            size, changed = -1, 0
        else:
            size, changed = stat.st_size, stat.st_mtime_ns
        name = path.relative_to(base) if path.is_relative_to(base) else path
        line = os.fsencode(name) + f"\0{size}\n".encode()
        copy.update(line)
        here.update(line + f"{changed}\n".encode())
    return copy.hexdigest(), here.hexdigest()
