"""Stored tables as gallery and query of a measure."""

from dataclasses import replace
from pathlib import Path

import torch

from ssl_dml.tables import EmbeddingTable, StoredTable
from ssl_dml.types import ConfigError


def stored_tables(
    gallery: Path, query: Path | None = None, *, labeled: bool = True
) -> tuple[list[EmbeddingTable], list[str]]:
    """The rows of stored tables, with one numbering of classes, and the classes' names.

    Classes of both are matched by name, as a data set's training and test samples are.

    Args:
        gallery: Folder of a table.
        query: Folder of another one.
        labeled: Leave rows without a label out.

    Raises:
        ConfigError: If a table has no labels and they are needed, or the tables were embedded by
            different weights.
    """
    stored = [StoredTable(folder) for folder in (gallery, query) if folder is not None]
    first, *others = stored
    for other in others:
        for name in ("weights", "pool", "views", "dim"):
            one, two = (_shown(table, name) for table in (first, other))
            if one != two:
                raise ConfigError(
                    f"{first.folder} and {other.folder} have different {name}, {one} and {two}: "
                    "embed both with one model"
                )
    names: list[str] = []
    for table in stored:
        names += [name for name in table.info.class_names or () if name not in names]
    ids = {name: i for i, name in enumerate(names)}
    found = []
    for table in stored:
        rows, classes = EmbeddingTable.open(table.folder), table.info.class_names or ()
        if int(max(rows.labels, default=-1)) >= len(classes):
            raise ConfigError(f"{table.folder} has labels without a name; embed again")
        labels = torch.tensor([*(ids[name] for name in classes), -1])[rows.labels]
        rows = replace(rows, labels=labels)
        if labeled and not (known := labels >= 0).all():
            if not known.any():
                raise ConfigError(
                    f"{table.folder} has no labels, which this measure needs; embed a source with "
                    "sub-folders or a label column"
                )
            rows = rows.at(known.nonzero()[:, 0])
        found.append(rows)
    return found, names


def _shown(table: StoredTable, name: str) -> object:
    value = getattr(table.info, name)
    return value.get("digest", "")[:12] if name == "weights" else value
