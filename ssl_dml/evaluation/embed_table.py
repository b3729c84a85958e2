"""Embed a data set into a stored table, shard by shard, and go on where a kill stopped it."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.data import SampleSet
from ssl_dml.distributed import broadcast_object, rank
from ssl_dml.evaluation.embed import Encoder, embedded
from ssl_dml.evaluation.health import evenly_spaced
from ssl_dml.files import as_json, remove_leftovers, replacing, write_json
from ssl_dml.progress import say
from ssl_dml.quantized import Levels
from ssl_dml.reading import parse_json, read_json, reading
from ssl_dml.tables import TABLE, TableBatch, TableInfo, write_info, write_part
from ssl_dml.types import ConfigError, shown

SAMPLE: Final = 5000  # rows
BEGUN: Final = "begun.json"  # what the finished files of a table are of, until all are there


def embed_table(
    encode: Encoder,
    samples: SampleSet,
    folder: Path,
    info: TableInfo,
    *,
    device: torch.device,
    batch_size: int = 256,
    shard_rows: int = 65_536,
) -> Float[Tensor, "sample dim"]:
    """Write a table of all samples; files that an earlier call has finished are kept.

    Every process encodes its part, and the first one writes.

    Args:
        encode: From stored samples on ``device`` to embeddings.
        samples: The data set.
        folder: Folder of the table.
        info: What it says of itself.
        device: Where the encoder is.
        batch_size: Samples that a process encodes at once.
        shard_rows: Rows of a file.

    Bits are the sides of the mean of up to 5,000 evenly spaced rows, which are embedded first, so
    that ``info`` has it before a file is written.

    Returns:
        A sample of the embeddings that this call made, as they were before they were stored; on
        other processes than the first none.

    Raises:
        ConfigError: If the folder holds a table of something else, or an embedding is not finite.
        OSError: If the disk is full; finished files stay.
    """
    done = 0
    if rank() == 0:
        done, info = _begin(folder, info, shard_rows)
    done, info = broadcast_object((done, info))
    if done:
        say(f"{folder}: going on after {done:,} of {info.rows:,} rows")
    rows = torch.arange(done, len(samples))
    chosen, sample = evenly_spaced(len(samples), SAMPLE), [torch.empty(0, info.dim)]
    sizes = {"device": device, "batch_size": batch_size}
    if info.dtype == "bit" and not info.levels:
        first = list(embedded(encode, samples, chosen, **sizes))
        if rank() == 0:
            info = _with_levels(torch.cat(first), samples, chosen, info)
            write_json(folder / BEGUN, _record(info, shard_rows))
    found = embedded(encode, samples, rows, **sizes)
    for features in _shards(found, shard_rows):
        own = torch.arange(done, done + len(features))
        _check_finite(features, samples, own)
        with replacing(folder / f"part-{done // shard_rows:05d}.parquet") as path:
            write_part(path, _batch(features, samples, own, Path(info.data["source"])), info)
        sample.append(features[torch.isin(own, chosen)])
        done += len(features)
    if rank() == 0:
        write_info(folder, info)
        (folder / BEGUN).unlink(missing_ok=True)
    broadcast_object(None)
    return torch.cat(sample)


def _with_levels(
    features: Float[Tensor, "rows dim"],
    samples: SampleSet,
    rows: Int[Tensor, " rows"],
    info: TableInfo,
) -> TableInfo:
    """What bits are compared with, from the embeddings of some rows."""
    _check_finite(features, samples, rows)
    levels = Levels.of(features.float().cpu().numpy())
    return replace(info, levels={name: row.tolist() for name, row in levels._asdict().items()})


def _record(info: TableInfo, shard_rows: int) -> dict[str, Any]:
    """What the files of a table are of, as it is read."""
    return dict(parse_json(as_json({**asdict(info), "shard_rows": shard_rows})))


def _begin(folder: Path, info: TableInfo, shard_rows: int) -> tuple[int, TableInfo]:
    """Rows that are there already, with their levels; write down what the others will be of."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    record = _record(info, shard_rows)
    finished = folder / TABLE
    begun = finished if finished.exists() else folder / BEGUN
    if not begun.exists():
        if any(folder.glob("part-*.parquet")):
            raise ConfigError(f"--output {folder} holds a table of unknown origin; name another")
        write_json(begun, record)
        return 0, info
    with reading(str(begun), "name another --output, or remove it", foreign=False):
        theirs = dict(read_json(begun))
        levels = dict(theirs.pop("levels", {}))
        Levels.check(levels, info.dim)
        info = replace(info, levels=levels)
    for key, value in record.items():
        if key in theirs and theirs[key] != value:
            raise ConfigError(
                f"--output {folder} holds embeddings with {key} {shown(theirs[key])}, and these "
                f"have {shown(value)}; name another folder, or remove it"
            )
    if begun == finished:
        return info.rows, info
    return _finished_rows(folder, info.rows, shard_rows), info


def _finished_rows(folder: Path, rows: int, shard_rows: int) -> int:
    """Rows in the finished files, which are written in order."""
    import pyarrow.parquet as pq

    done = 0
    while done < rows:
        path = folder / f"part-{done // shard_rows:05d}.parquet"
        if not path.exists():
            break
        with reading(str(path), "remove it"):
            count = pq.read_metadata(path).num_rows
        if count != min(shard_rows, rows - done):
            raise ConfigError(f"{path} has {count:,} rows, not those of a file; remove it")
        done += count
    return done


def _shards(
    found: Iterator[Float[Tensor, "some dim"]], rows: int
) -> Iterator[Float[Tensor, "shard dim"]]:
    """The same rows in parts of ``rows``, of which the last may have fewer."""
    waiting, count = list[Tensor](), 0
    for part in found:
        waiting.append(part)
        count += len(part)
        while count >= rows:
            whole = torch.cat(waiting)
            yield whole[:rows]
            waiting, count = [whole[rows:]], count - rows
    if count:
        yield torch.cat(waiting)


def _batch(
    features: Float[Tensor, "rows dim"], samples: SampleSet, rows: Int[Tensor, " rows"], root: Path
) -> TableBatch:
    labels = torch.full_like(rows, -1) if samples.labels is None else samples.labels[rows]
    names = [within(root, name) for name in samples.names.at(rows.tolist())]
    columns = samples.columns_at(rows)
    return TableBatch(names=names, labels=labels, embeddings=features, columns=columns)


def within(root: Path, name: str) -> str:
    """Path of a file relative to the folder of the data; other names as they are.

    >>> within(Path("/data"), "/data/a/1.png"), within(Path("moons"), "moons, row 3")
    ('a/1.png', 'moons, row 3')
    """
    path = Path(name).absolute()
    return str(path.relative_to(root)) if path != root and path.is_relative_to(root) else name


def _check_finite(
    features: Float[Tensor, "rows dim"], samples: SampleSet, rows: Int[Tensor, " rows"]
) -> None:
    finite = features.isfinite().all(1)
    if not finite.all():
        name = samples.names[int(rows[~finite][0])]
        raise ConfigError(f"the embedding of {name} holds NaN or infinity; use other weights")
