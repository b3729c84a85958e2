"""Files of the rows of an index: written in one pass, read in place, never changed afterwards."""

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.reading import reading, regular
from ssl_dml.types import ConfigError

RowType = Literal["float32", "float16"]
Kind = Literal["exact", "hnsw", "ivf", "pq", "bits"]
BLOCK = 1 << 16  # rows
TOUCHED = 64  # rows; the system maps up to 2 MB around each
TEXTS = ("paths", "thumbs")  # each beside the file of where its entries end


@dataclass(frozen=True, kw_only=True)
class SegmentInfo:
    """What an index says of one of its segments.

    Args:
        number: Files of the segment begin with it.
        first: Id of its first row.
        rows: Number of rows, those that were removed since included.
        row_type: How embeddings are kept.
        kind: How they are searched.
        effort: How many lists, nodes or candidates a search looks at, in units of the kind.
        recall: Part of the 10 nearest rows that a search finds, measured on a sample.
        source: Where the samples of the rows are.
        digest: SHA-256 of the file that faiss reads, which is its own parser's; empty without.
    """

    number: int
    first: int
    rows: int
    row_type: RowType
    kind: Kind = "exact"
    effort: int = 1
    recall: float = 1.0
    source: str = ""
    digest: str = ""

    def file(self, folder: Path, part: str) -> Path:
        """A file of the segment."""
        return folder / f"{self.number:05}.{part}"


@final
class SegmentWriter:
    """Writes rows one batch after another; what it has written is on the disk when it is left.

    Args:
        folder: The folder of the index.
        info: Number and kind of the segment; rows are counted here.
    """

    def __init__(self, folder: Path, info: SegmentInfo) -> None:
        self.folder, self.info, self.rows = folder, info, 0
        self._files: dict[str, Any] = {}
        self._ends: dict[str, int] = dict.fromkeys(TEXTS, 0)
        self._stack = ExitStack()

    def __enter__(self) -> "SegmentWriter":
        for part in ("rows", "labels", *TEXTS, *(f"{text}_ends" for text in TEXTS)):
            path = self.info.file(self.folder, part)
            self._files[part] = self._stack.enter_context(path.open("xb"))
        for text in TEXTS:
            self._files[f"{text}_ends"].write(np.zeros(1, np.int64).tobytes())
        return self

    def __exit__(self, *raised: object) -> None:
        with self._stack:
            if raised[0] is None:
                for file in self._files.values():
                    file.flush()
                    os.fsync(file.fileno())

    def write(
        self,
        embeddings: Float[Tensor, "batch dim"],
        labels: Int[Tensor, " batch"],
        paths: Sequence[str],
        thumbs: Sequence[bytes],
    ) -> None:
        """Append rows; their embeddings become unit vectors.

        Raises:
            ConfigError: Naming the first row that holds NaN or infinity.
        """
        broken = (~embeddings.isfinite().all(dim=1)).nonzero()
        if len(broken):
            raise ConfigError(f"the embedding of {paths[int(broken[0])]!r} holds NaN or infinity")
        unit = F.normalize(embeddings.float(), dim=1)
        self._put(unit.half() if self.info.row_type == "float16" else unit, labels, paths, thumbs)

    def _put(
        self,
        kept: Float[Tensor, "batch dim"],
        labels: Int[Tensor, " batch"],
        paths: Sequence[str],
        thumbs: Sequence[bytes],
    ) -> None:
        self._files["rows"].write(kept.contiguous().numpy().data)
        self._files["labels"].write(labels.to(torch.int64).contiguous().numpy().data)
        self._append("paths", [path.encode() for path in paths])
        self._append("thumbs", thumbs)
        self.rows += len(paths)

    def copy(self, segment: "Segment") -> None:
        """Append the rows of another segment of the same row type."""
        rows = range(segment.info.rows)
        self._put(
            torch.from_numpy(np.asarray(segment.rows)),
            torch.from_numpy(segment.labels.copy()),
            [segment.path(row) for row in rows],
            [segment.thumbnail(row) for row in rows],
        )

    def _append(self, text: str, entries: Sequence[bytes]) -> None:
        ends = self._ends[text] + np.cumsum([len(entry) for entry in entries], dtype=np.int64)
        self._ends[text] = int(ends[-1]) if len(ends) else self._ends[text]
        self._files[text].writelines(entries)
        self._files[f"{text}_ends"].write(ends.tobytes())


@final
class Segment:
    """The rows of a segment, mapped into memory as they are needed.

    Args:
        folder: The folder of the index.
        info: What the index says of the segment.
        dim: Dimension of an embedding.

    Raises:
        ConfigError: If a file is missing, or not as long as it should be.
    """

    def __init__(self, folder: Path, info: SegmentInfo, dim: int) -> None:
        self.info, self.dim, self.folder = info, dim, folder
        self._inode = self._identity()
        self.rows = self.map("rows", info.row_type, (info.rows, dim))
        self.labels = self.map("labels", "int64", (info.rows,))
        self._ends, self._texts = {}, {}
        for text in TEXTS:
            ends = self.map(f"{text}_ends", "int64", (info.rows + 1,))
            self._ends[text] = ends
            self._texts[text] = self.map(text, "uint8", (max(0, int(ends[-1])),))

    def _identity(self) -> int | None:
        path = self.info.file(self.folder, "rows")
        return path.stat().st_ino if path.exists() else None

    @property
    def present(self) -> bool:
        """Whether its files are still those that were opened."""
        return self._identity() == self._inode

    def map(self, part: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        """A file of numbers as an array that is read where it is looked at."""
        path = self.info.file(self.folder, part)
        with reading(str(path), "build the index again"):
            wanted, size = np.dtype(dtype).itemsize * int(np.prod(shape)), regular(path).stat()
            if size.st_size != wanted:
                raise ValueError(f"has {size.st_size:,} bytes instead of {wanted:,}")
            if not wanted:
                return np.empty(shape, dtype)
            return np.memmap(path, dtype, "c", shape=shape)  # torch takes no read-only memory

    def _entry(self, text: str, row: int) -> bytes:
        start, end = (int(self._ends[text][row + i]) for i in (0, 1))
        found = self._texts[text][max(0, start) : max(0, end)]
        return found.tobytes()

    def path(self, row: int) -> str:
        """Path or key of the sample of a row."""
        return self._entry("paths", row).decode(errors="replace")

    def thumbnail(self, row: int) -> bytes:
        """A small JPEG of the sample; empty if there is none."""
        return self._entry("thumbs", row)

    def paths(self) -> pa.LargeBinaryArray:
        """All paths in UTF-8.

        Raises:
            ConfigError: If their file is damaged.
        """
        ends, text = self._ends["paths"], self._texts["paths"]
        if ends[0] != 0 or (np.diff(ends) < 0).any():
            path = self.info.file(self.folder, "paths_ends")
            raise ConfigError(f"{path} is damaged; build the index again")
        buffers = [None, pa.py_buffer(np.asarray(ends)), pa.py_buffer(np.asarray(text))]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), self.info.rows, buffers)  # pyright: ignore

    def blocks(self) -> Iterator[tuple[int, Float[Tensor, "block dim"]]]:
        """First row and float32 embeddings of one part after another."""
        for first in range(0, self.info.rows, BLOCK):
            yield first, torch.from_numpy(np.asarray(self.rows[first : first + BLOCK])).float()
            if self.info.kind != "exact":
                self.forget()

    def embeddings(self, rows: Int[np.ndarray, "*some"]) -> Float[Tensor, "*some dim"]:
        """Some embeddings in float32; those of other rows take no memory."""
        flat, found = rows.reshape(-1), np.empty((rows.size, self.dim), self.info.row_type)
        order = flat.argsort()  # the disk is read in its order
        for first in range(0, len(order), TOUCHED):
            own = order[first : first + TOUCHED]
            found[own] = self.rows[flat[own]]
            if self.info.kind != "exact":
                self.forget()
        return torch.from_numpy(found.reshape(*rows.shape, self.dim)).float()

    def forget(self) -> None:
        """Give back the memory of what was looked at; it is read again where it is needed."""
        if isinstance(self.rows, np.memmap):
            mapping: mmap.mmap = self.rows._mmap  # pyright: ignore[reportAttributeAccessIssue]
            mapping.madvise(mmap.MADV_DONTNEED)
