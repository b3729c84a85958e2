"""Rows of a table become a segment of an index."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from ssl_dml.index.candidates import (
    NAMES,
    SAMPLED,
    TUNED_RECALL,
    amount,
    build,
    candidates,
    choose,
    row_bytes,
)
from ssl_dml.index.manifest import Manifest
from ssl_dml.index.ranked import tuned
from ssl_dml.index.segment import Kind, Segment, SegmentInfo, SegmentWriter
from ssl_dml.index.thumbnails import Thumbnails
from ssl_dml.progress import progress
from ssl_dml.tables import StoredTable, TableInfo
from ssl_dml.threshold_file import read_threshold
from ssl_dml.types import ConfigError

SMALL = 1 << 14  # rows; segments of fewer are joined with what is added


def extended(
    folder: Path,
    manifest: Manifest,
    table: StoredTable,
    *,
    number: int | None = None,
    kind: Kind | None = None,
) -> tuple[Manifest, str]:
    """Write the rows of a table as a segment; the index has it when the manifest is written.

    Small segments before it become part of it, so that many additions are few segments.

    Returns:
        The manifest with the segment, and what the segment is in words.
    """
    dim, rows, source = manifest.table.dim, table.info.rows, source_of(table.info)
    kind = kind or choose(rows, dim, manifest.memory)
    small = _small(manifest, rows, source) if kind == "exact" else ()
    kept = manifest.segments[: len(manifest.segments) - len(small)]
    info = SegmentInfo(
        number=manifest.next_number if number is None else number,
        first=manifest.ids - sum(one.rows for one in small),
        rows=rows + sum(one.rows for one in small),
        row_type="float32" if kind == "exact" else "float16",
        kind=kind,
        source=source,
    )
    names, mapped = _joined(manifest.table.class_names, table.info.class_names)
    thumbs = Thumbnails(table.info, manifest.side)
    with SegmentWriter(folder, info) as writer, progress(rows, "indexing", "rows") as bar:
        for one in small:
            writer.copy(Segment(folder, one, dim))
        for part in table.batches(4096):
            labels = mapped[part.labels] if len(mapped) > 1 else part.labels
            writer.write(part.embeddings, labels, part.names, thumbs.of(part.names))
            bar.update(len(part.names))
    info = _searchable(folder, info, dim)
    words = f"{_described(info, dim, manifest.memory)}; {thumbs}"
    known = replace(manifest.table, class_names=names)
    return replace(manifest, table=known, segments=(*kept, info)), words


def _small(manifest: Manifest, rows: int, source: str) -> tuple[SegmentInfo, ...]:
    """The last exact segments of a source, as long as all and some rows more are few."""
    count = 0
    for one in reversed(manifest.segments):
        rows += one.rows
        if rows > SMALL or one.source != source or one.kind != "exact":
            break
        count += 1
    return manifest.segments[len(manifest.segments) - count :]


def _searchable(folder: Path, info: SegmentInfo, dim: int) -> SegmentInfo:
    """Write what the search of a segment needs, and measure how well it finds."""
    segment = Segment(folder, info, dim)  # as long as they should be, before the index has them
    if info.kind == "exact":
        return info
    segment.info = info = replace(info, digest=build(segment))
    found = candidates(segment)
    assert found is not None
    return tuned(segment, found, TUNED_RECALL)


def _described(info: SegmentInfo, dim: int, memory: int) -> str:
    """How a segment is searched, in how much memory, and how many of the nearest rows it finds."""
    takes = amount(info.rows * row_bytes(info.kind, dim))
    words = f"{NAMES[info.kind]}: {info.rows:,} rows take {takes} of {amount(memory)}"
    if info.kind == "exact":
        return words
    return f"{words}; recall@10 against exact {info.recall:.3f} on {SAMPLED} sampled rows"


def source_of(info: TableInfo) -> str:
    """Where the samples of a table are; a folder from the root on."""
    source = str(info.data.get("source", ""))
    path = Path(source).expanduser()
    return str(path.absolute()) if source and path.exists() else source


def check_same_model(folder: Path, own: TableInfo, table: StoredTable) -> None:
    """Raise unless the rows of a table can be compared with those of an index."""
    other = table.info
    check_weights(folder, own, str(other.weights.get("path")), str(other.weights.get("digest")))
    for name in ("dim", "pool", "views", "inputs", "modality"):
        if getattr(own, name) != getattr(other, name):
            raise ConfigError(
                f"{table.folder} has {name} {getattr(other, name)}, and {folder} "
                f"{getattr(own, name)}: embed it the same way"
            )


def check_weights(folder: Path, info: TableInfo, path: str, digest: str) -> None:
    """Raise unless weights are those that the rows of an index were embedded by.

    Raises:
        ConfigError: Naming both.
    """
    if digest != info.weights.get("digest"):
        own = f"{info.weights.get('path')} (digest {str(info.weights.get('digest'))[:12]})"
        raise ConfigError(
            f"{folder} was embedded by {own}, and not by {path} (digest {digest[:12]}): "
            "cosines between two models mean nothing"
        )


def _joined(
    own: Sequence[str] | None, other: Sequence[str] | None
) -> tuple[Sequence[str] | None, Int[Tensor, " labels"]]:
    """All class names, and what becomes of each label of the other; the last is that of -1."""
    if own is None or other is None:
        return own or other, torch.tensor([-1])
    names = list(dict.fromkeys([*own, *other]))
    return names, torch.tensor([*(names.index(name) for name in other), -1])


def begun(table: StoredTable, memory: int, side: int) -> Manifest:
    """The manifest of an index without rows yet, with the thresholds of a table.

    Raises:
        ConfigError: If ``threshold.json`` of the table is damaged, or of another model.
    """
    info, found = table.info, read_threshold(table.folder)
    if found is None:
        return Manifest(table=info, memory=memory, side=side)
    found.check(table.folder, str(info.weights.get("digest")), info.pool, info.views, info.dim)
    same, known = found.limits(info.rows)
    return Manifest(table=info, memory=memory, side=side, threshold=same, unknown=known)
