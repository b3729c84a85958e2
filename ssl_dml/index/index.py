"""An index of embeddings in a folder: search, look up, add and remove."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import psutil
import pyarrow as pa
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pyarrow import compute
from torch import Tensor

from ssl_dml.checks import at_least, in_range
from ssl_dml.index.candidates import Candidates, candidates
from ssl_dml.index.indexing import check_same_model, check_weights, extended, source_of
from ssl_dml.index.manifest import (
    IndexInfo,
    Manifest,
    Row,
    read_manifest,
    write_removed,
    writing,
)
from ssl_dml.index.ranked import best
from ssl_dml.index.segment import Kind, Segment
from ssl_dml.index.thumbnails import SIDE
from ssl_dml.progress import say
from ssl_dml.tables import StoredTable
from ssl_dml.types import ConfigError

pc: Any = compute  # its functions are made at import

__all__ = ["Index", "IndexInfo", "Row", "build_index", "check_weights"]


@final
class Index:
    """An index that was opened: what others add or remove afterwards it does not see.

    Args:
        folder: What :func:`build_index` wrote.

    Raises:
        ConfigError: Naming the file, if it is no index, damaged or of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._parts: list[tuple[Segment, Candidates | None]] = []
        self._read()

    @classmethod
    def open(cls, folder: str | Path) -> "Index":
        """The index in a folder."""
        return cls(folder)

    def _read(self) -> None:
        manifest = read_manifest(self.folder)
        while True:
            try:
                self._open(manifest)
                return
            except ConfigError:
                latest = read_manifest(self.folder)
                if latest == manifest:
                    raise
                manifest = latest  # it was changed meanwhile, and the files are gone

    def _open(self, manifest: Manifest) -> None:
        dim = manifest.table.dim
        self._manifest = manifest
        known = {one.info: (one, found) for one, found in self._parts if one.present}
        parts: list[tuple[Segment, Candidates | None]] = []
        for info in manifest.segments:
            segment, found = known.get(info, (None, None))
            if segment is None:
                segment = Segment(self.folder, info, dim)
                found = candidates(segment)
            parts.append((segment, found))
        self._parts = parts
        removed = manifest.removed_ids(self.folder)
        self._live = np.ones(manifest.ids, np.bool_)
        self._live[removed] = False

    @property
    def _segments(self) -> list[Segment]:
        return [segment for segment, _ in self._parts]

    @property
    def info(self) -> IndexInfo:
        """What is in the index."""
        largest = max(self._manifest.segments, key=lambda one: one.rows)
        return IndexInfo(
            table=self._manifest.table,
            rows=int(self._live.sum()),
            kind=largest.kind,
            recall=largest.recall,
            segments=len(self._parts),
        )

    def search(
        self,
        embeddings: Float[Tensor, "queries dim"],
        k: int,
        *,
        among: Bool[np.ndarray, " ids"] | None = None,
    ) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
        """Cosines and ids of the k most similar rows of each query, from near to far.

        Args:
            embeddings: Queries, of any length above 0.
            k: Number of neighbors; fewer are found if there are fewer rows.
            among: For each id whether it may be found; None for all. See :meth:`where`.
        """
        at_least(1, k=k)
        if embeddings.shape[1] != self._manifest.table.dim:
            raise ValueError(
                f"queries have {embeddings.shape[1]} values; "
                f"rows of {self.folder} have {self._manifest.table.dim}"
            )
        queries = F.normalize(embeddings.float(), dim=1)
        if not queries.isfinite().all():
            raise ValueError("a query holds NaN or infinity")
        live = self._live if among is None else self._live & among
        scores, ids = [], []
        for segment, found in self._parts:
            first, rows = segment.info.first, segment.info.rows
            own = live[first : first + rows]
            near = best(segment, found, queries, k, live=None if own.all() else own)
            scores.append(near[0])
            ids.append(near[1] + first)
        top = torch.cat(scores, dim=1)
        top = top.topk(min(k, top.shape[1]), dim=1)
        return top.values, torch.cat(ids, dim=1).gather(1, top.indices)

    def rows(self, ids: Iterable[int]) -> list[Row]:
        """Path, class and source of rows, those that were removed included."""
        return [self._row(int(i)) for i in ids]

    def _row(self, i: int) -> Row:
        segment, row = self._at(i)
        label, names = int(segment.labels[row]), self._manifest.table.class_names or ()
        name = names[label] if 0 <= label < len(names) else None
        return Row(i, segment.path(row), label, name, segment.info.source)

    def _at(self, i: int) -> tuple[Segment, int]:
        in_range(0, self._manifest.ids - 1, id=i)
        segment = next(one for one in reversed(self._segments) if one.info.first <= i)
        return segment, i - segment.info.first

    def embeddings(self, ids: Iterable[int]) -> Float[Tensor, "some dim"]:
        """Unit vectors of rows."""
        found = [segment.embeddings(np.array([row])) for segment, row in map(self._at, ids)]
        return torch.cat(found) if found else torch.empty(0, self._manifest.table.dim)

    def thumbnail(self, i: int) -> bytes:
        """A small JPEG of the sample of a row; empty if there is none."""
        segment, row = self._at(i)
        return segment.thumbnail(row)

    def labels(self) -> list[int]:
        """Labels of the rows, the most frequent first; -1 is none."""
        found = np.concatenate([segment.labels for segment in self._segments])[self._live]
        labels, counts = np.unique(found, return_counts=True)
        return labels[np.argsort(-counts, kind="stable")].tolist()

    def folders(self) -> list[str]:
        """Folders of the paths, with those above them."""
        found = set[str]()
        for segment in self._segments:
            live = self._live[segment.info.first :][: segment.info.rows]
            paths = segment.paths().filter(pa.array(live))
            for folder in pc.replace_substring_regex(paths, "/?[^/]*$", "").unique().to_pylist():
                name = folder.decode(errors="replace")
                while name and name not in found:
                    found.add(name)
                    name = name.rpartition("/")[0]
        return sorted(found)

    def where(
        self, *, label: int | None = None, folder: str | None = None
    ) -> Bool[np.ndarray, " ids"]:
        """For each id whether its row is of a class, and its path begins with a folder."""
        kept = self._live.copy()
        for segment in self._segments:
            own = kept[segment.info.first :][: segment.info.rows]
            if label is not None:
                own &= segment.labels == label
            if folder is not None:
                begins = pc.starts_with(segment.paths(), pattern=f"{folder.rstrip('/')}/")
                own &= begins.to_numpy(zero_copy_only=False)
        return kept

    def find(self, paths: Sequence[str], *, source: str | None = None) -> Int[np.ndarray, " found"]:
        """Ids of the rows with one of these paths.

        Args:
            paths: As the table has them.
            source: Only rows whose samples are there; None for all.
        """
        wanted = pa.array([path.encode() for path in paths], pa.large_binary())
        found = [np.empty(0, np.int64)]
        for segment in self._segments:
            if source is None or source == segment.info.source:
                same = pc.is_in(segment.paths(), value_set=wanted).to_numpy(zero_copy_only=False)
                found.append(segment.info.first + same.nonzero()[0])
        ids = np.concatenate(found)
        return ids[self._live[ids]]

    def add(self, table: StoredTable | str | Path) -> str:
        """Add the rows of a table that the same model embedded, without a new build.

        A row takes the place of an earlier one with the same path and source.

        Returns:
            What was done, in words.

        Raises:
            ConfigError: If the table is of another model, or another process writes the index.
        """
        table = table if isinstance(table, StoredTable) else StoredTable(table)
        with writing(self.folder) as manifest:
            assert manifest is not None
            self._read()
            check_same_model(self.folder, manifest.table, table)
            names = [name for part in table.batches() for name in part.names]
            own = self.find(names, source=source_of(table.info))
            written, words = extended(self.folder, manifest, table)
            self._commit(written, own)
        replaced = f"; {len(own):,} of them take the place of earlier rows" if len(own) else ""
        return f"{table.info.rows:,} rows added{replaced}; {words}"

    def remove(self, paths: Sequence[str]) -> int:
        """Remove the rows with these paths, without a new build.

        Returns:
            How many rows were removed.

        Raises:
            ConfigError: If a path is not in the index; nothing is removed then.
        """
        with writing(self.folder):
            self._read()
            ids = self.find(paths)
            known = {self._row(int(i)).path for i in ids}
            missing = next((path for path in paths if path not in known), None)
            if missing is not None:
                raise ConfigError(f"{self.folder} has no row with the path {missing!r}")
            if len(ids) == self._live.sum():
                raise ConfigError(f"{self.folder} would be empty; remove the folder instead")
            self._commit(self._manifest, ids)
        return len(ids)

    def _commit(self, manifest: Manifest, removed: np.ndarray) -> None:
        """Make a manifest that of the index, without some more rows, and open it."""
        if len(removed):
            ids = np.union1d(manifest.removed_ids(self.folder), removed)
            number = manifest.next_number
            write_removed(self.folder, number, ids)
            manifest = replace(manifest, removed=number)
        manifest.write(self.folder)
        self._read()


def build_index(
    table: StoredTable | str | Path,
    folder: str | Path,
    *,
    memory: int | None = None,
    kind: Kind | None = None,
    side: int = SIDE,
) -> Index:
    """Build an index of a table, whole or not at all, and say how it is searched.

    Args:
        table: The table.
        folder: Folder to write; an index in it is replaced, and nothing else is.
        memory: Bytes that a search may take; None for half of what is free.
        kind: How to search; None for what suits the rows and the memory.
        side: Largest side of thumbnails in pixels; 0 for none.

    Raises:
        ConfigError: If the folder holds something else, another process writes it, or the table
            cannot be read.
    """
    table, folder = table if isinstance(table, StoredTable) else StoredTable(table), Path(folder)
    if not table.info.rows:
        raise ConfigError(f"{table.folder} has no rows to search")
    memory = psutil.virtual_memory().available // 2 if memory is None else memory
    with writing(folder) as former:
        begun = Manifest(table=table.info, memory=memory, side=side)
        number = former.next_number if former else 0
        manifest, words = extended(folder, begun, table, number=number, kind=kind)
        manifest.write(folder)
    say(words)
    return Index(folder)
