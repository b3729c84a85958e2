"""Which rows may be nearest, found without reading all: graphs, lists, codes and bits."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import final

import faiss
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.files import synchronize
from ssl_dml.index.segment import Kind, Segment
from ssl_dml.progress import progress
from ssl_dml.reading import digest, reading
from ssl_dml.types import ConfigError, one_line

EXACT_BELOW = 1_000_000  # rows; more are searched approximately
GRAPH_BELOW = 2_000_000  # rows; a graph of more takes hours to build
FEWEST = 1_000  # rows, of which lists and codes can be learned
MOST_EFFORT = 1024
SAMPLED, DEPTH = 200, 10  # rows that recall is measured on, and neighbors of each
TUNED_RECALL = 0.99
WORD = 64  # bits
NAMES: dict[Kind, str] = {
    "exact": "exact search",
    "hnsw": "HNSW graph",
    "ivf": "IVF, inverted lists",
    "pq": "IVF with product quantization, rescored",
    "bits": "bits, rescored",
}


class Candidates(ABC):
    """What proposes rows of a segment for some queries."""

    @abstractmethod
    def find(
        self, queries: Float[Tensor, "queries dim"], k: int, effort: int
    ) -> Int[Tensor, "queries some"]:
        """Rows that may be among the k nearest, each once; -1 where there are no more."""


def row_bytes(kind: Kind, dim: int) -> int:
    """Bytes of memory that a search takes for each row.

    >>> [row_bytes(kind, 128) for kind in ("exact", "hnsw", "ivf", "pq", "bits")]
    [512, 524, 264, 40, 32]
    """
    links = 2 * 32 * 4 + 12
    own = {
        "exact": 4 * dim,
        "hnsw": 2 * dim + links,
        "ivf": 2 * dim + 8,
        "pq": -(-_codes(dim) // 2) + 8,
    }
    return own.get(kind, _bits(dim) // 8)


def choose(rows: int, dim: int, memory: int) -> Kind:
    """The most exact kind of search that is quick with so many rows and fits into memory.

    Args:
        rows: Number of rows.
        dim: Dimension of an embedding.
        memory: Bytes that the search may take.

    Raises:
        ConfigError: If not even bits fit.

    >>> choose(50_000, 128, 10**9), choose(5_000_000, 128, 4 * 10**9), choose(10**7, 128, 10**9)
    ('exact', 'ivf', 'pq')
    """
    possible: list[Kind] = ["ivf", "pq", "bits"] if rows >= FEWEST else ["bits"]
    if rows <= GRAPH_BELOW:
        possible.insert(0, "exact" if rows <= EXACT_BELOW else "hnsw")
    for kind in possible:
        if rows * row_bytes(kind, dim) <= memory:
            return kind
    raise ConfigError(
        f"--memory {amount(memory)} is too little: even bits of {rows:,} rows take "
        f"{amount(rows * row_bytes('bits', dim))}"
    )


def amount(size: int) -> str:
    """Bytes in words.

    >>> amount(2_560_000_000), amount(160_000_000), amount(1920)
    ('2.6 GB', '160.0 MB', '1.9 kB')
    """
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size / 1000:,.1f} kB"


def _codes(dim: int) -> int:
    """Half bytes of a product-quantized row: at least 2 values share one."""
    return max(parts for parts in range(1, max(1, dim // 2) + 1) if dim % parts == 0)


def _bits(dim: int) -> int:
    return WORD * math.ceil(max(dim, 4 * WORD) / WORD)


def build(segment: Segment) -> str:
    """Write what a search that is not exact needs, beside the rows of a segment.

    Returns:
        The digest of what faiss reads again; empty if it reads nothing.

    Raises:
        OSError: If the disk is full.
    """
    folder, info = segment.folder, segment.info
    parts = ("bits", "rotation") if info.kind == "bits" else ("faiss",)
    written = [info.file(folder, part) for part in parts]
    if info.kind == "bits":
        rotation = _rotation(segment.dim)
        written[1].write_bytes(rotation.numpy().tobytes())
        with written[0].open("xb") as file:
            for rows in _shown(segment):
                file.write(_packed(rows @ rotation).data)
    else:
        index = _learned(segment)
        try:
            faiss.write_index(index, str(written[0]))
        except RuntimeError as error:
            raise OSError(f"{written[0]}: {one_line(error)}") from error
    for path in written:
        synchronize(path)
    return "" if info.kind == "bits" else digest(written[0])


def _learned(segment: Segment) -> faiss.Index:
    info, dim = segment.info, segment.dim
    lists = max(1, min(round(2 * math.sqrt(info.rows)), info.rows // 40))
    names = {
        "hnsw": "HNSW32_SQfp16",
        "ivf": f"IVF{lists},SQfp16",
        "pq": f"IVF{lists},PQ{_codes(dim)}x4fs",
    }
    index = faiss.index_factory(dim, names[info.kind], faiss.METRIC_INNER_PRODUCT)
    count = min(info.rows, max(64 * lists, 20_000))
    sample = np.sort(np.random.default_rng(0).choice(info.rows, count, replace=False))
    index.train(segment.embeddings(sample).numpy())
    for rows in _shown(segment):
        index.add(rows.numpy())
    return index


def _shown(segment: Segment) -> Iterator[Float[Tensor, "block dim"]]:
    """Embeddings in blocks, with a bar."""
    with progress(segment.info.rows, "building", "rows") as bar:
        for _, rows in segment.blocks():
            yield rows
            bar.update(len(rows))


def _rotation(dim: int) -> Float[Tensor, "dim bits"]:
    """Random directions, orthogonal among each ``dim`` of them."""
    generator = torch.Generator().manual_seed(0)
    square = torch.randn(-(-_bits(dim) // dim), dim, dim, generator=generator)
    return torch.linalg.qr(square).Q.transpose(0, 1).flatten(1)[:, : _bits(dim)].contiguous()


def _packed(values: Float[Tensor, "rows bits"]) -> np.ndarray:
    """A bit for each value, 1 where it is above 0.

    >>> _packed(torch.tensor([[1.0, -1, 1, 0, 0, 0, 0, 1]]))
    array([[161]], dtype=uint8)
    """
    return np.packbits((values > 0).numpy(), axis=1)


@final
class Bits(Candidates):
    """Signs of a rotated row; few of them differ from those of a near row."""

    def __init__(self, segment: Segment) -> None:
        dim, bits = segment.dim, _bits(segment.dim)
        self.codes = segment.map("bits", "uint8", (segment.info.rows, bits // 8))
        self.rotation = torch.from_numpy(segment.map("rotation", "float32", (dim, bits)))

    def find(
        self, queries: Float[Tensor, "queries dim"], k: int, effort: int
    ) -> Int[Tensor, "queries some"]:
        """The ``k * effort`` rows of which the fewest bits differ."""
        count = min(len(self.codes), k * effort)
        return torch.from_numpy(
            faiss.knn_hamming(_packed(queries @ self.rotation), self.codes, count)[1]
        ).long()


@final
class Learned(Candidates):
    """An index of faiss: a graph, or lists with or without product quantization."""

    def __init__(self, segment: Segment) -> None:
        path, self.kind = segment.info.file(segment.folder, "faiss"), segment.info.kind
        with reading(str(path), "build the index again"):
            if digest(path) != segment.info.digest:  # before faiss parses it
                raise ValueError("is damaged")
            try:
                self.index = faiss.read_index(str(path))
            except RuntimeError as error:
                raise ValueError("is damaged") from error
            fits = isinstance(
                self.index, faiss.IndexHNSW if self.kind == "hnsw" else faiss.IndexIVF
            )
            if not fits or (self.index.ntotal, self.index.d) != (segment.info.rows, segment.dim):
                raise ValueError("is of another index")

    def find(
        self, queries: Float[Tensor, "queries dim"], k: int, effort: int
    ) -> Int[Tensor, "queries some"]:
        """Rows of as many lists, or from as many nodes, as the effort says."""
        count = k * effort if self.kind == "pq" else k
        # As attributes: a library that patches faiss for tensors takes no parameters of a search.
        if isinstance(self.index, faiss.IndexHNSW):
            self.index.hnsw.efSearch = effort
        else:
            self.index.nprobe = effort  # pyright: ignore[reportAttributeAccessIssue]
        found = self.index.search(queries.numpy(), min(self.index.ntotal, count))[1]  # pyright: ignore
        return torch.from_numpy(found)


def candidates(segment: Segment) -> Candidates | None:
    """What proposes rows of a segment; None where all are compared."""
    if segment.info.kind == "exact":
        return None
    return (Bits if segment.info.kind == "bits" else Learned)(segment)
