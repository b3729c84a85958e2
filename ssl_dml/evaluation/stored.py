"""Stored tables as gallery and query of a measure."""

from pathlib import Path

import torch

from ssl_dml.tables import EmbeddingTable, StoredTable
from ssl_dml.types import ConfigError


def labeled_tables(
    gallery: Path, query: Path | None = None
) -> tuple[list[EmbeddingTable], list[str]]:
    """The labeled rows of stored tables, with one numbering of classes, and the classes' names.

    Classes of both are matched by name, as a data set's training and test samples are.

    Args:
        gallery: Folder of a table.
        query: Folder of another one.

    Raises:
        ConfigError: If a table has no labels, or they were embedded by different weights.
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
        known = rows.labels >= 0
        if not known.any():
            raise ConfigError(
                f"{table.folder} has no labels, which this measure needs; embed a source with "
                "sub-folders or a label column"
            )
        if int(rows.labels.max()) >= len(classes):
            raise ConfigError(f"{table.folder} has labels without a name; embed again")
        labels = torch.tensor([ids[name] for name in classes])[rows.labels[known]]
        kept = [name for name, own in zip(rows.names or (), known.tolist(), strict=True) if own]
        found.append(EmbeddingTable(embeddings=rows.embeddings[known], labels=labels, names=kept))
    return found, names


def _shown(table: StoredTable, name: str) -> object:
    value = getattr(table.info, name)
    return value.get("digest", "")[:12] if name == "weights" else value
