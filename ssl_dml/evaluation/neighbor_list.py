"""Which samples are nearest to which, by name, to look at what a measure counts as mistakes."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from ssl_dml.evaluation.compute import ONE_PROCESS, Compute
from ssl_dml.evaluation.search import nearest
from ssl_dml.files import replacing
from ssl_dml.tables import EmbeddingTable

COLUMNS = ("sample", "label", "rank", "neighbor", "neighbor_label", "cosine")
Row = tuple[str, str, int, str, str, float]


def neighbors(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    k: int,
    class_names: Sequence[str] = (),
    compute: Compute = ONE_PROCESS,
) -> Iterator[Row]:
    """Yield sample, its label, rank, neighbor, its label and their cosine similarity.

    Args:
        gallery: Rows to search.
        query: Rows to search for; None to search for each gallery row among all the others.
        k: Neighbors of each sample, fewer if the gallery has fewer.
        class_names: Names of the labels; without them labels are numbers.
        compute: The device that searches, on one process.

    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> labels, names = torch.tensor([0, 1, 1]), ["a.png", "b.png", "c.png"]
    >>> table = EmbeddingTable(embeddings=rows, labels=labels, names=names)
    >>> next(neighbors(table, k=1, class_names=["cat", "dog"]))
    ('a.png', 'cat', 1, 'c.png', 'dog', 0.6)
    """
    queries = gallery if query is None else query
    depth = min(k, len(gallery.labels) - (query is None))
    depths = torch.full((len(queries.labels),), depth)
    rows = None if query is None else query.embeddings
    given = {"metric": "cosine", "compute": compute}
    for found, near in nearest(gallery.embeddings, rows, depths, **given):
        unit = F.normalize(gallery.embeddings[near], dim=2)
        cosines = (unit @ F.normalize(queries.embeddings[found], dim=1)[:, :, None])[:, :, 0]
        for row, others, scores in zip(
            found.tolist(), near.tolist(), cosines.tolist(), strict=True
        ):
            sample, label = _shown(queries, row, class_names)
            for rank, (other, cosine) in enumerate(zip(others, scores, strict=True), start=1):
                name, other_label = _shown(gallery, other, class_names)
                yield sample, label, rank, name, other_label, round(cosine, 6)


def write_neighbors(path: Path, rows: Iterator[Row]) -> None:
    """Write a table with a header, comma-separated and in UTF-8."""
    with (
        replacing(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def _shown(table: EmbeddingTable, row: int, class_names: Sequence[str]) -> tuple[str, str]:
    name = str(row) if table.names is None else table.names[row]
    label = int(table.labels[row])
    return name, class_names[label] if class_names else str(label)
