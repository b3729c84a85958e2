"""What a step of noise-contrastive estimation costs as the memory bank grows."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.growth import said
from ssl_dml.backbones import Backbone
from ssl_dml.files import write_json
from ssl_dml.memory import BankStorage
from ssl_dml.methods import NPID, RunInfo
from ssl_dml.types import Batch

BATCH, DIM, NEGATIVES = 256, 128, 4096


@final
class _Identity(Backbone):
    """Features that are given; what remains of a step is the bank's and the loss's."""

    feature_dim = DIM

    def forward(self, samples: Tensor) -> Tensor:
        return samples


def bank_table(
    rows: Sequence[int] = (10**4, 10**5, 10**6, 10**7), *, output: Path | None = None
) -> None:
    """Print what a step of NPID costs by the size of its bank, the encoder left out.

    Args:
        rows: Sizes of the banks, at least 256 each; of 512 bytes a row in float32.
        output: JSON file for the table.

    Raises:
        ValueError: If a bank is smaller than a batch.
    """
    if min(rows, default=0) < BATCH:
        raise ValueError(f"rows must be at least {BATCH} each, got {list(rows)}")
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    print("negatives for  rows kept in        rows   ms a step  ratio to the first", flush=True)
    table: dict[str, dict[int, float]] = {}
    for draw_for in ("batch", "sample"):
        for dtype in ("float32", "bfloat16"):
            storage = BankStorage(dtype=dtype)
            times = bank_costs(rows, draw_for=draw_for, storage=storage, device=device)
            for size, took in zip(rows, times, strict=True):
                ratio = took / times[0]
                print(f"{draw_for:13}  {dtype:12}  {size:10,}  {took:10.1f}  {ratio:18.2f}")
            table[f"{draw_for}, {dtype}"] = dict(zip(rows, times, strict=True))
            print(said("rows", rows, times), flush=True)
    if output is not None:
        write_json(output, table)


def bank_costs(
    sizes: Sequence[int],
    *,
    draw_for: Literal["sample", "batch"],
    storage: BankStorage,
    device: torch.device,
    rounds: int = 9,
) -> list[float]:
    """Milliseconds a step of NPID without an encoder, the median for each size of bank.

    A step draws 4,096 negatives, gathers their rows, computes loss and gradient of 256 embeddings
    of dimension 128, and updates their rows. The sizes take turns, so they share whatever else
    the machine is doing.

    Args:
        sizes: Rows of each bank, at least 256.
        draw_for: Whose negatives they are, as in NPID.
        storage: How the banks are kept, as in NPID.
        device: Where the embeddings are.
        rounds: Turns of each size.
    """
    runs = [_steps(size, draw_for, storage, device) for size in sizes]
    times: list[list[float]] = [[] for _ in sizes]
    for number in range(rounds + 1):  # the first is to warm up
        for run, taken in zip(runs, times, strict=True):
            _wait(device)
            began = time.perf_counter()
            next(run)
            _wait(device)
            if number:
                taken.append(1000 * (time.perf_counter() - began))
    return [median(taken) for taken in times]


def _steps(
    size: int, draw_for: Literal["sample", "batch"], storage: BankStorage, device: torch.device
) -> Iterator[None]:
    run_info = RunInfo(num_instances=size, batch_size=BATCH, num_batches=1)
    method = NPID(
        _Identity(),
        run_info,
        negatives=NEGATIVES,
        draw_for=draw_for,
        storage=storage,
        output_dim=DIM,
    )
    method.to(device)
    samples = F.normalize(torch.randn(BATCH, DIM, device=device), dim=1)
    while True:
        indices = torch.randint(size - BATCH + 1, (), device=device)
        indices = indices + torch.arange(BATCH, device=device)
        method(Batch([samples], indices)).loss.backward()
        method.zero_grad()
        yield


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
