"""Embeddings on disk: parquet files that any tool opens, beside what they are embeddings of."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, final, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

import ssl_dml
from ssl_dml.files import replacing, write_json
from ssl_dml.quantized import DType, Levels, Quantized, quantized, restored
from ssl_dml.reading import read_format, reading, regular
from ssl_dml.types import ConfigError, shown

if TYPE_CHECKING:
    import pyarrow as pa

TABLE, FORMAT = "table.json", 1
OWN_COLUMNS = ("path", "label", "class", "embedding", "scale")


@dataclass(frozen=True, kw_only=True)
class EmbeddingTable:
    """Embeddings of a data set beside the labels of its rows, on the CPU.

    Args:
        embeddings: One row a sample.
        labels: Class of each row, from 0.
        names: Path or key of each row's sample; None if they are not known.
        columns: Further columns of the source, by name; one entry a row.
    """

    embeddings: Float[Tensor, "rows dim"]
    labels: Int[Tensor, " rows"]
    names: Sequence[str] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, given in (("labels", self.labels), ("names", self.names), *self.columns.items()):
            if given is not None and len(given) != (rows := len(self.embeddings)):
                raise ValueError(f"{name} need one entry a row: {len(given)} for {rows} rows")

    def at(self, rows: Int[Tensor, " some"]) -> "EmbeddingTable":
        """Some of its rows, in the order given."""
        wanted, names = rows.tolist(), self.names
        return EmbeddingTable(
            embeddings=self.embeddings[rows],
            labels=self.labels[rows],
            names=None if names is None else [names[int(row)] for row in wanted],
            columns={name: [of[row] for row in wanted] for name, of in self.columns.items()},
        )

    @classmethod
    def open(cls, folder: str | Path) -> "EmbeddingTable":
        """Read a stored table into memory; see :class:`StoredTable`.

        Raises:
            ConfigError: Naming the file, if it is no table, unfinished, or damaged.
        """
        stored = StoredTable(folder)
        labels, names, at = torch.empty(stored.info.rows, dtype=torch.int64), list[str](), 0
        embeddings = torch.empty(stored.info.rows, stored.info.dim)
        columns = dict[str, list[Any]]()
        for part in stored.batches():
            own = slice(at, at := at + len(part.names))
            embeddings[own], labels[own] = part.embeddings, part.labels
            names += part.names
            for name, values in part.columns.items():
                columns.setdefault(name, []).extend(values)
        return cls(embeddings=embeddings, labels=labels, names=names, columns=columns)


@dataclass(frozen=True, kw_only=True)
class TableInfo:
    """What a stored table says of itself, in ``table.json``.

    Args:
        rows: How many embeddings.
        dim: Their dimension.
        dtype: How they are stored.
        class_names: Name of each label, from 0; None without labels.
        weights: ``digest`` of the network that made them, and the ``path`` the user named.
        data: ``source`` and ``fingerprint`` of the samples.
        inputs: Preprocessing, as in ``backbone.json``.
        pool: How the network's features were pooled.
        views: Which views of a sample were averaged.
        modality: ``image`` or ``sequence``.
        version: Of the toolkit that wrote them.
        levels: Of bits, ``center`` and ``spread`` of each dimension, see
            :class:`~ssl_dml.quantized.Levels`; empty where bits are the signs of rows as they are.
    """

    rows: int
    dim: int
    dtype: DType = "float32"
    class_names: Sequence[str] | None = None
    weights: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    pool: str | None = None
    views: str | None = None
    modality: str = "image"
    version: str = ssl_dml.__version__
    levels: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def of_bits(self) -> Levels | None:
        """What bits are compared with, if there is something."""
        if not self.levels:
            return None
        return Levels(*(np.array(self.levels[name], np.float32) for name in Levels._fields))


@dataclass(frozen=True, kw_only=True)
class TableBatch:
    """Some consecutive rows of a table.

    Args:
        names: Path or key of each sample.
        labels: Class of each, from 0; -1 without.
        embeddings: One row a sample.
        columns: Further columns of the source, by name.
    """

    names: Sequence[str]
    labels: Int[Tensor, " rows"]
    embeddings: Float[Tensor, "rows dim"]
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@final
class StoredTable:
    """A table in a folder that ``ssl_dml embed`` or :func:`write_table` wrote.

    Args:
        folder: With ``table.json`` and parquet files.

    Attributes:
        folder: The same.
        info: What it says of itself.

    Raises:
        ConfigError: If it is none, unfinished, damaged or of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.info = _read_info(self.folder)

    def batches(self, rows: int = 65_536) -> Iterator[TableBatch]:
        """Rows in order, at most so many at once; whatever they are stored as, float32.

        Raises:
            ConfigError: Naming the file, if one is missing or damaged.
        """
        import pyarrow.parquet as pq

        paths, found = sorted(self.folder.glob("part-*.parquet")), 0
        for path in paths:
            with reading(str(path), "embed again"):
                found += pq.read_metadata(regular(path)).num_rows
        if found != self.info.rows:
            raise ConfigError(
                f"{self.folder} holds {found:,} rows where its {TABLE} says {self.info.rows:,}; "
                "embed again"
            )
        for path in paths:
            with (
                reading(str(path), "embed again", foreign=False),
                pq.ParquetFile(regular(path)) as file,
            ):
                for batch in file.iter_batches(batch_size=rows):
                    yield _decoded(batch, self.info)

    def load(self) -> EmbeddingTable:
        """The whole table in memory, in float32."""
        return EmbeddingTable.open(self.folder)


def write_table(folder: Path, info: TableInfo, batches: Iterable[TableBatch]) -> StoredTable:
    """Write a table, whole or not at all; each batch is a file of it.

    >>> import tempfile
    >>> rows = torch.eye(2)
    >>> batch = TableBatch(names=["a", "b"], labels=torch.tensor([0, -1]), embeddings=rows)
    >>> folder = Path(tempfile.mkdtemp()) / "table"
    >>> write_table(folder, TableInfo(rows=2, dim=2, class_names=["cat"]), [batch]).load().names
    ['a', 'b']

    Args:
        folder: Folder to write; an older one is replaced.
        info: What it says of itself; ``rows`` is counted.
        batches: Its rows, in order.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    with replacing(folder, folder=True) as partial:
        for index, batch in enumerate(batches):
            write_part(partial / f"part-{index:05d}.parquet", batch, info)
            rows += len(batch.names)
        write_info(partial, TableInfo(**{**_values(info), "rows": rows}))
    return StoredTable(folder)


def write_part(path: Path, batch: TableBatch, info: TableInfo) -> None:
    """Write one parquet file of a table."""
    import pyarrow.parquet as pq

    pq.write_table(_encoded(batch, info), path)


def write_info(folder: Path, info: TableInfo) -> None:
    """Write ``table.json``, which makes a folder of parquet files a table."""
    write_json(folder / TABLE, {"format": FORMAT, **asdict(info)})


def _values(info: TableInfo) -> dict[str, Any]:
    return {one.name: getattr(info, one.name) for one in fields(info)}


def _read_info(folder: Path) -> TableInfo:
    path = folder / TABLE
    if not path.exists():
        state = "is unfinished: it" if any(folder.glob("part-*.parquet")) else "is no table: it"
        raise ConfigError(f"{folder} {state} lacks {TABLE}; ssl_dml embed writes it")
    with reading(str(path), "embed again", foreign=False):
        return info_from(read_format(path, FORMAT, "embed again"))


def info_from(values: Mapping[str, Any]) -> TableInfo:
    """What :func:`~dataclasses.asdict` made of it, read from JSON.

    Raises:
        ValueError: If it is nothing that a table says of itself.
    """
    values = {"levels": {}, **values}  # tables of earlier versions have none
    missing = [one.name for one in fields(TableInfo) if one.name not in values]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    given = {one.name: values[one.name] for one in fields(TableInfo)}
    _check_values(given)
    return TableInfo(**given)


def _check_values(given: dict[str, Any]) -> None:
    """Raise ValueError where a table says of itself what cannot be."""
    names = given["class_names"]
    known = isinstance(names, list) and all(isinstance(one, str) for one in names)
    possible = {
        "rows": type(given["rows"]) is int and 0 <= given["rows"] < 2**40,
        "dim": type(given["dim"]) is int and 1 <= given["dim"] < 2**20,
        "dtype": given["dtype"] in get_args(DType),
        "class_names": names is None or known,
        **{name: isinstance(given[name], dict) for name in ("weights", "data", "inputs", "levels")},
        **{name: isinstance(given[name], str | None) for name in ("pool", "views")},
        **{name: isinstance(given[name], str) for name in ("modality", "version")},
    }
    for name, holds in possible.items():
        if not holds:
            raise ValueError(f"has {name} {shown(given[name])}, which cannot be")
    Levels.check(given["levels"], given["dim"])


def _encoded(batch: TableBatch, info: TableInfo) -> "pa.Table":
    """Rows as parquet has them."""
    import pyarrow as pa

    values = batch.embeddings.float().cpu().numpy()
    columns: dict[str, Any] = {
        "path": pa.array(list(batch.names), pa.string()),
        "label": pa.array(batch.labels.tolist(), pa.int64()),
    }
    if info.class_names is not None:
        known = [info.class_names[i] if i >= 0 else None for i in batch.labels.tolist()]
        columns["class"] = pa.array(known, pa.string())
    columns |= {k: pa.array(list(v)) for k, v in batch.columns.items() if k not in OWN_COLUMNS}
    values, scale = quantized(values, info.dtype, info.of_bits)
    if scale is not None:
        columns["scale"] = pa.array(scale)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.table(columns)


def _decoded(batch: "pa.RecordBatch", info: TableInfo) -> TableBatch:
    """What :func:`_encoded` wrote, as float32."""
    stored = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)
    values = stored.reshape(max(1, batch.num_rows), -1)
    scale = batch.column("scale").to_numpy() if info.dtype == "int8" else None
    values = restored(Quantized(values, scale), info.dim, info.dtype, info.of_bits)
    if values.shape[1] != info.dim:
        raise ValueError(f"has {values.shape[1]} dimensions; {TABLE} says {info.dim}")
    further = [name for name in batch.schema.names if name not in OWN_COLUMNS]
    return TableBatch(
        names=batch.column("path").to_pylist(),
        labels=torch.from_numpy(batch.column("label").to_numpy().copy()),
        embeddings=torch.from_numpy(values.copy()),
        columns={name: batch.column(name).to_pylist() for name in further},
    )
