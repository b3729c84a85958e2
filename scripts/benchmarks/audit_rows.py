"""How long embeddings are judged, and with how much memory."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.growth import said
from benchmarks.memory import PeakMemory
from ssl_dml.evaluation.audit import embedding_findings
from ssl_dml.tables import EmbeddingTable

SPREAD = 0.7  # deviation in each dimension, of a class whose center deviates by 1


def rows_table(
    *,
    rows: Sequence[int] = (100_000, 1_000_000),
    dim: int = 64,
    classes: int = 100,
    wrong: float = 0.02,
) -> list[dict[str, Any]]:
    """Judge drawn embeddings as an audit does, and print seconds and memory beyond the rows.

    Args:
        rows: How many, from few to many.
        dim: Of an embedding.
        classes: Each is drawn about a center.
        wrong: Part of the labels that is another class.
    """
    found = list[dict[str, Any]]()
    for count in rows:
        table, given = drawn(count, dim, classes, wrong)
        with PeakMemory(torch.device("cpu")) as memory:
            begin = time.perf_counter()
            findings = embedding_findings(table)
            seconds = time.perf_counter() - begin
        doubtful = {one.row for one in findings if one.kind == "label"}
        right = sum(bool(given[row]) for row in doubtful)
        found.append({"rows": count, "seconds": seconds, "megabytes": memory.megabytes})
        print(
            f"{count:,} rows of {dim}: {seconds:.1f} s, {memory.megabytes:,.0f} MB beyond their "
            f"own {count * dim * 4 / 2**20:,.0f} MB; {len(doubtful):,} labels denied, "
            f"of them wrong {right:,} of {int(given.sum()):,}",
            flush=True,
        )
    print("seconds:", said("rows", rows, [one["seconds"] for one in found]))
    return found


def drawn(rows: int, dim: int, classes: int, wrong: float) -> tuple[EmbeddingTable, torch.Tensor]:
    """Embeddings about a center for each class, with their labels, and which of these are wrong."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (rows,), generator=generator)
    embeddings = torch.randn(rows, dim, generator=generator).mul_(SPREAD)
    embeddings += torch.randn(classes, dim, generator=generator)[labels]
    other = torch.rand(rows, generator=generator) < wrong
    given = (labels + other * torch.randint(1, classes, (rows,), generator=generator)) % classes
    return EmbeddingTable(embeddings=embeddings, labels=given), other
