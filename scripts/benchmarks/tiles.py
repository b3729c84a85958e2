"""Time and memory of NT-Xent in tiles beside the whole matrix."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.growth import said
from benchmarks.memory import PeakMemory
from ssl_dml.files import write_json
from ssl_dml.losses import nt_xent
from ssl_dml.losses.tiles import TILE

DIM, TEMPERATURE = 128, 0.1
Kind = Literal["tiles", "dense", "lightly"]


def tile_table(
    rows: Sequence[int] = (1024, 4096, 16384, 65536, 131072),
    *,
    peer: Literal["lightly", "dense"] = "lightly",
    largest: int = 16384,
    output: Path | None = None,
) -> None:
    """Print time, memory and largest difference of NT-Xent in tiles and over the whole matrix.

    Args:
        rows: Batches to measure, in views of 128 dimensions, two a sample.
        peer: Whose whole matrix: lightly's (pip install lightly), or plain torch.
        largest: Rows above which the whole matrix is left out; it takes 16 bytes and more for
            each pair of rows.
        output: JSON file for the table.

    Raises:
        ValueError: If lightly is not installed.
    """
    if peer == "lightly" and find_spec("lightly") is None:
        raise ValueError("lightly is not installed: pip install lightly, or give --peer dense")
    print(f"{'rows':>8} {'tiles':>18} {peer:>18} {'faster':>8} {'largest difference':>20}")
    table: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in rows:
            cost, found = measure("tiles", count, Path(folder))
            table[str(count)] = dict(cost)
            line = f"{count:8} {cost['seconds']:8.2f} s {cost['megabytes']:5.0f} MB"
            if count <= largest:
                other, expected = measure(peer, count, Path(folder))
                pairs = zip(found, expected, strict=True)
                apart = max((ours - theirs).abs().max().item() for ours, theirs in pairs)
                faster = other["seconds"] / cost["seconds"]
                table[str(count)] |= {"faster": faster, "largest_difference": apart}
                line += f" {other['seconds']:8.2f} s {other['megabytes']:5.0f} MB"
                line += f" {faster:7.1f}x {apart:20.1e}"
            print(line, flush=True)
    print(said("rows", rows, [cost["seconds"] for cost in table.values()]))
    if output is not None:
        write_json(output, table)


def loss_of(kind: Kind) -> Callable[[Tensor, Tensor], Tensor]:
    """NT-Xent in tiles, over the whole matrix in plain torch, or lightly's."""
    if kind == "tiles":
        return lambda a, b: nt_xent(a, b, temperature=TEMPERATURE, tile_size=TILE)
    if kind == "dense":
        return _dense
    from lightly.loss import NTXentLoss  # pyright: ignore[reportMissingImports]

    return NTXentLoss(temperature=TEMPERATURE)


def measure(kind: Kind, rows: int, folder: Path) -> tuple[dict[str, float], list[Tensor]]:
    """Cost of a forward and backward pass, in a process of its own.

    Args:
        kind: Which loss.
        rows: Views in the batch, two a sample, of 128 dimensions.
        folder: Where the process leaves what it computed.

    Returns:
        ``seconds``, and ``megabytes`` that the process's peak memory rose above the inputs; and
        the value with the gradients of both sides.

    Raises:
        OSError: If the process fails, as it does when memory runs out.
    """
    path = folder / f"{kind}_{rows}.pt"
    threads = str(torch.get_num_threads())
    command = [sys.executable, "-m", __name__, kind, str(rows), threads, str(path)]
    scripts = Path(__file__).parents[1]  # where the module is found by its name
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=scripts)
    if made.returncode:
        reason = (made.stderr.strip() or f"exit code {made.returncode}").split("\n")[-1]
        raise OSError(f"{kind} at {rows} rows: {reason}")
    return json.loads(made.stdout), torch.load(path)


def _dense(first: Tensor, second: Tensor) -> Tensor:
    views = F.normalize(torch.cat([first, second]), dim=1)
    logits = (views @ views.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(len(views)).roll(len(first)))


def _work(kind: Kind, rows: int, threads: int, path: str) -> dict[str, float]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    loss = loss_of(kind)

    def make(pairs: int) -> list[Tensor]:
        return [torch.randn(pairs, DIM).requires_grad_() for _ in range(2)]

    loss(*make(64)).backward()  # what the first call loads is not the loss's
    views = make(rows // 2)
    with PeakMemory(torch.device("cpu")) as memory:
        began = time.perf_counter()
        value = loss(*views)
        value.backward()
        seconds = time.perf_counter() - began
    torch.save([value.detach(), *(view.grad for view in views)], path)
    return {"seconds": seconds, "megabytes": memory.megabytes}


if __name__ == "__main__":
    print(json.dumps(_work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))  # pyright: ignore[reportArgumentType]
