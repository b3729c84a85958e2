"""Time and memory of NT-Xent in tiles beside the whole matrix."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_dml.benchmarks.memory import PeakMemory
from ssl_dml.losses import TILE, nt_xent

DIM, TEMPERATURE = 128, 0.1
Kind = Literal["tiles", "dense", "lightly"]


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
    made = subprocess.run(command, capture_output=True, text=True, check=False)
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
