"""Retrieval beside bare faiss, and verification of all pairs: time and memory."""

import time
from pathlib import Path
from typing import Any, Literal

import faiss
import torch
import torch.nn.functional as F

from ssl_dml.evaluation.retrieval import retrieval
from ssl_dml.evaluation.verification import verification
from ssl_dml.files import write_json
from ssl_dml.tables import EmbeddingTable

SPREAD = 1.0  # standard deviation within a class, of that between classes


def measure_table(
    *,
    rows: int = 50_000,
    queries: int = 10_000,
    dim: int = 128,
    k: int = 100,
    each: int = 10,
    pairs: float = 1e9,
    repeats: int = 3,
    clock: Literal["wall", "cpu"] = "wall",
    seed: int = 0,
    output: Path | None = None,
) -> None:
    """Measure all that retrieval measures, and verification of all pairs.

    Embeddings are drawn around the center of their class. Retrieval and bare faiss, which finds
    as many neighbors, take turns; the fastest of each counts.

    Args:
        rows: Rows of the gallery.
        queries: Rows that search.
        dim: Dimension of an embedding.
        k: The largest k of recall and precision.
        each: Rows of a class.
        pairs: Pairs to verify; 0 for none.
        repeats: Turns.
        clock: Seconds that passed, or those of the processor, where others share the machine.
        seed: Of the draws.
        output: JSON file of everything that was measured.
    """
    now = time.perf_counter if clock == "wall" else time.process_time
    found: dict[str, Any] = {"threads": torch.get_num_threads(), "libraries_mb": peak()}
    if repeats:
        gallery, query = (drawn(count, dim, each, SPREAD, seed) for count in (rows, queries))
        ks, times = sorted({1, 10, k}), {"faiss_s": list[float](), "retrieval_s": list[float]()}
        measures = ("recall", "precision", "mrr", "map_at_r", "r_precision")
        found["tables_mb"] = peak()
        for _ in range(repeats):
            began = now()
            found["measures"] = retrieval(gallery, query, ks=ks, measures=measures)
            times["retrieval_s"].append(now() - began)
            found.setdefault("retrieval_peak_mb", peak())
            began = now()
            index = faiss.IndexFlatIP(dim)
            index.add(F.normalize(gallery.embeddings).numpy())  # pyright: ignore[reportCallIssue]
            index.search(F.normalize(query.embeddings).numpy(), k)  # pyright: ignore[reportCallIssue]
            times["faiss_s"].append(now() - began)
        found |= {name: min(values) for name, values in times.items()}
        found["ratio"] = found["retrieval_s"] / found["faiss_s"]
        print(
            f"{queries:,} queries among {rows:,} rows of {dim}, k = {k}: "
            f"{found['retrieval_s']:.2f} s, bare faiss {found['faiss_s']:.2f} s, "
            f"{found['ratio']:.2f} times; peak memory {found['retrieval_peak_mb']:,.0f} MB, "
            f"libraries {found['libraries_mb']:,.0f} MB"
        )
    if pairs:
        table = drawn(round((2 * pairs) ** 0.5) + 1, dim, each, SPREAD, seed)
        began = now()
        found["verification"] = verification(table)
        found |= {"verification_s": now() - began, "verification_peak_mb": peak()}
        print(
            f"{len(table.labels) * (len(table.labels) - 1) / 2:,.0f} pairs: "
            f"{found['verification_s']:.1f} s, peak memory {found['verification_peak_mb']:,.0f} MB"
        )
    if output is not None:
        write_json(output, found)


def drawn(rows: int, dim: int, each: int, spread: float, seed: int) -> EmbeddingTable:
    """Rows around the centers of their classes; tables of one seed share the centers."""
    classes = max(2, rows // each)
    centers = torch.randn(classes, dim, generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(rows) % classes
    noise = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed + rows))
    return EmbeddingTable(embeddings=centers[labels] + spread * noise, labels=labels)


def peak() -> float:
    """Peak memory of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
