"""Clusters of many rows: time, memory, and whether they are the classes."""

import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.measures import drawn, peak
from ssl_dml.evaluation.agreement import agreement
from ssl_dml.evaluation.clustering import kmeans
from ssl_dml.evaluation.density import density_clusters
from ssl_dml.files import write_json


def cluster_table(
    *,
    rows: int = 1_000_000,
    classes: int = 1000,
    dim: int = 128,
    spread: float = 0.5,
    seed: int = 0,
    output: Path | None = None,
) -> dict[str, Any]:
    """Measure clusters by density and one start of k-means, on rows drawn around centers.

    Args:
        rows: Rows to cluster.
        classes: Centers, and clusters of k-means.
        dim: Dimension of a row.
        spread: Standard deviation within a class, of that between classes.
        seed: Of the draws.
        output: JSON file of what was measured.
    """
    table = drawn(rows, dim, rows // classes, spread, seed)
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "table_mb": peak()}
    ways = {
        "density": lambda: density_clusters(table.embeddings),
        "kmeans": lambda: kmeans(table.embeddings, classes, seed=seed),
    }
    for name, cluster in ways.items():
        began = time.perf_counter()
        own = cluster()
        found[f"{name}_s"] = time.perf_counter() - began
        found |= {f"{name}_peak_mb": peak(), f"{name}_clusters": int(own.max()) + 1}
        found[f"{name}_ami"] = agreement(table.labels, own)["ami"]
        measured = {key.removeprefix(f"{name}_"): value for key, value in found.items()}
        print(
            f"{name}: {rows:,} rows of {dim} in {classes:,} classes: {measured['s']:.1f} s on "
            f"{found['threads']} threads, peak memory {measured['peak_mb']:,.0f} MB (table and "
            f"libraries {found['table_mb']:,.0f} MB), {measured['clusters']:,} clusters, "
            f"AMI {measured['ami']:.3f}",
            flush=True,
        )
    if output is not None:
        write_json(output, found)
    return found
