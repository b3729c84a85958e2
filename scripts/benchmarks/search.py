"""Search in an index: time beside bare faiss, memory, recall, and what an addition takes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.files import write_json
from ssl_dml.index import Index, build_index
from ssl_dml.index.segment import Kind
from ssl_dml.tables import StoredTable, TableBatch, TableInfo, write_table

K = 10
BATCH = 100_000  # rows that are drawn at once
CLUSTER = 200  # rows of a cluster on average
NOISE = 0.6  # spread within a cluster, of that between clusters


def search_table(
    folder: Path,
    *,
    rows: int = 50_000,
    dim: int = 128,
    queries: int = 10_000,
    kinds: tuple[Kind, ...] = ("exact",),
    table: Path | None = None,
    repeats: int = 3,
    seed: int = 0,
    output: Path | None = None,
) -> None:
    """Build indices of clustered rows, or of a table, and measure each in a process of its own.

    Args:
        folder: Where tables and indices are written; they stay there.
        rows: Number of rows.
        dim: Dimension of an embedding.
        queries: Number of queries; of a table, so many of its rows.
        kinds: How to search. The first is what recall is measured against.
        table: A table of real embeddings to take instead.
        repeats: Searches of which the fastest counts; 0 leaves out bare faiss.
        seed: What is drawn.
        output: JSON file of everything that was measured.
    """
    stored = StoredTable(table) if table else drawn(folder / f"table_{rows}", rows, dim, seed)
    asked = _queries(folder, stored, queries, None if table else seed)
    found: dict[str, Any] = {"rows": stored.info.rows, "dim": stored.info.dim, "seed": seed}
    found |= {"queries": queries, "threads": torch.get_num_threads(), "kinds": {}}
    print(
        f"{'kind':>6} {'build':>9} {'query':>10} {'memory':>9} {'libraries':>10} {'recall@10':>10}"
    )
    expected = None
    for kind in kinds:
        place = folder / f"index_{stored.info.rows}_{kind}"
        began = time.perf_counter()
        if not place.exists():
            build_index(stored, place, memory=10**12, kind=kind, side=0)
        cost = {"build_s": time.perf_counter() - began} | _measured(place, asked, repeats)
        ids = np.load(f"{place}.npy")
        expected = ids if expected is None else expected
        cost["recall"] = float(
            np.mean([np.isin(a, b).mean() for a, b in zip(expected, ids, strict=True)])
        )
        found["kinds"][kind] = cost
        print(
            f"{kind:>6} {cost['build_s']:7.1f} s {1e3 * cost['search_s'] / queries:7.2f} ms"
            f" {cost['peak_mb']:6.0f} MB {cost['libraries_mb']:7.0f} MB {cost['recall']:10.4f}"
        )
        if "faiss_s" in cost:
            print(
                f"       {cost['search_s']:.3f} s, bare faiss {cost['faiss_s']:.3f} s: "
                f"{cost['search_s'] / cost['faiss_s']:.3f} times"
            )
    last = folder / f"index_{stored.info.rows}_{kinds[-1]}"
    found |= _changed(last, stored.info, folder, seed)
    print(f"1,000 rows added in {found['add_s']:.2f} s, 10 removed in {found['remove_s']:.2f} s")
    if output is not None:
        write_json(output, found)


def clustered(rows: int, dim: int, seed: int, *, total: int) -> Float[Tensor, "rows dim"]:
    """Rows drawn as embeddings lie: clusters of uneven size in few main directions.

    Centers and the noise around them are normal with a standard deviation that falls with the
    square root of the direction's rank, turned at random; the size of a cluster falls with its
    rank to the power of 0.7. Rows are of length 1.
    """
    fixed = np.random.default_rng(0)
    spread = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    turn = np.linalg.qr(fixed.standard_normal((dim, dim)))[0].astype(np.float32)
    count = max(1, total // CLUSTER)
    centers = fixed.standard_normal((count, dim), np.float32) * spread
    sizes = np.arange(1, count + 1) ** -0.7
    rng = np.random.default_rng([seed, rows])
    which = rng.choice(count, rows, p=sizes / sizes.sum())
    noise = rng.standard_normal((rows, dim), np.float32) * spread * NOISE
    return F.normalize(torch.from_numpy((centers[which] + noise) @ turn), dim=1)


def drawn(folder: Path, rows: int, dim: int, seed: int) -> StoredTable:
    """A table of clustered rows in float16, unless it is there."""
    if (folder / "table.json").exists():
        return StoredTable(folder)
    weights = {"digest": "0" * 64, "path": "drawn"}
    info = TableInfo(rows=0, dim=dim, dtype="float16", weights=weights)

    def batches() -> Iterator[TableBatch]:
        for first in range(0, rows, BATCH):
            count = min(BATCH, rows - first)
            names = [f"images/{i // 1000:05}/{i:08}.jpg" for i in range(first, first + count)]
            labels = torch.full((count,), -1)
            values = clustered(count, dim, seed + 1 + first, total=rows)
            yield TableBatch(names=names, labels=labels, embeddings=values)

    return write_table(folder, info, batches())


def _queries(folder: Path, stored: StoredTable, count: int, seed: int | None) -> Path:
    """Rows of the same clusters that are not in the table; of real embeddings, some of the rows."""
    if seed is None:
        every = max(1, stored.info.rows // count)
        found = stored.load().embeddings[::every][:count]
    else:
        found = clustered(count, stored.info.dim, seed, total=stored.info.rows)
    path = folder / "queries.npy"
    np.save(path, found.numpy())
    return path


def _measured(place: Path, asked: Path, repeats: int) -> dict[str, float]:
    """Seconds and memory of a search in a process of its own."""
    threads = str(torch.get_num_threads())
    command = [sys.executable, "-m", __name__, str(place), str(asked), str(repeats), threads]
    scripts = Path(__file__).parents[1]
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=scripts)
    if made.returncode:
        raise OSError(f"{place}: {(made.stderr.strip() or str(made.returncode)).splitlines()[-1]}")
    return json.loads(made.stdout)


def _changed(place: Path, info: TableInfo, folder: Path, seed: int) -> dict[str, float]:
    """Seconds to add 1,000 rows to an index, and to remove 10."""
    names = [f"added/{seed}/{i}.jpg" for i in range(1000)]
    values = clustered(1000, info.dim, seed + 7, total=info.rows)
    batch = TableBatch(names=names, labels=torch.full((1000,), -1), embeddings=values)
    more = write_table(folder / "more", info, [batch])
    index = Index.open(place)
    added = _seconds(lambda: index.add(more))
    removed = _seconds(lambda: index.remove(names[:10]))
    index.remove(names[10:])
    return {"add_s": added, "remove_s": removed}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _work(place: Path, asked: Path, repeats: int, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    queries = torch.from_numpy(np.load(asked))
    found = {"libraries_mb": _memory()["VmRSS:"], "open_s": _seconds(lambda: Index.open(place))}
    index = Index.open(place)
    found["search_s"] = min(_seconds(lambda: index.search(queries, K)) for _ in range(repeats or 1))
    found["one_query_s"] = min(_seconds(lambda: index.search(queries[:1], K)) for _ in range(5))
    np.save(f"{place}.npy", index.search(queries, K)[1].numpy())
    memory = _memory()
    found |= {"peak_mb": memory["VmHWM:"], "anonymous_mb": memory["RssAnon:"]}
    found |= {"recall_measured": index.info.recall}
    if repeats and index.info.kind == "exact":
        bare = faiss.IndexFlatIP(queries.shape[1])
        rows = [block for segment in index._segments for _, block in segment.blocks()]
        bare.add(torch.cat(rows).numpy())
        # By turns, so that what else the machine does touches both.
        pairs = [
            (
                _seconds(lambda: bare.search(queries.numpy(), K)),
                _seconds(lambda: index.search(queries, K)),
            )
            for _ in range(repeats)
        ]
        found["faiss_s"], found["search_s"] = (min(times) for times in zip(*pairs, strict=True))
    return found


def _memory() -> dict[str, float]:
    """What the system says of this process, in MB."""
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    return {line[0]: int(line[1]) * 1024 / 1e6 for line in lines if line[-1] == "kB"}


if __name__ == "__main__":
    place, asked, repeats, threads = sys.argv[1:]
    print(json.dumps(_work(Path(place), Path(asked), int(repeats), int(threads))))
