"""Samples that ``data.exclude`` leaves out, by name."""

import hashlib
from pathlib import Path
from typing import final

import numpy as np

from ssl_dml.config import ConfigError
from ssl_dml.data.on_demand import Array, OnDemand
from ssl_dml.data.sources import Source
from ssl_dml.reading import read_text, reading


def read_names(path: Path) -> set[str]:
    """Names of a file, one a line; empty lines and those that begin with # are none.

    Raises:
        ConfigError: If it cannot be read.
    """
    with reading(f"data.exclude {str(path)!r}", "name a text file, a sample a line"):
        lines = read_text(path.expanduser()).split("\n")
    return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def remaining(source: Source, kept: list[int], root: Path, path: Path) -> list[int]:
    """Which of the decoded samples stay; the source notes how many do not, and changes its name.

    A line names a sample as the toolkit does, or its file relative to the folder of the data.

    Args:
        source: The samples.
        kept: Position in it of each decoded sample.
        root: Folder of the data.
        path: The file of names.

    Raises:
        ConfigError: If no sample stays.
    """
    names = read_names(path)
    roots = {f"{root}/", f"{root.absolute()}/", f"{root.resolve()}/"}
    found, rows = set[str](), list[int]()
    for row, position in enumerate(kept):
        name = source.name(int(position))
        known = {name, *(name.removeprefix(start) for start in roots)} & names
        found |= known
        if not known:
            rows.append(row)
    if not rows:
        raise ConfigError(f"data.exclude {str(path)!r} names all {len(kept):,} samples of {root}")
    words = f"data.exclude: {len(kept) - len(rows):,} samples left out"
    if unknown := len(names - found):
        words += f"; {unknown:,} of {len(names):,} lines name none of them"
    source.notes = [*source.notes, words]
    if found:
        listed = "\n".join([source.fingerprint, *sorted(found)])
        source.fingerprint = hashlib.sha256(listed.encode()).hexdigest()
    return rows


@final
class Some:
    """Some of the stored samples; an array of indices gives a batch.

    Args:
        samples: All of them.
        rows: Those that stay.
    """

    def __init__(self, samples: "np.ndarray | OnDemand | Some", rows: list[int]) -> None:
        self.samples, self.rows = samples, np.asarray(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: np.ndarray) -> Array:
        return self.samples[self.rows[indices]]
