"""What a step of class weights costs, sampled and whole, as the classes become many."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import torch

from benchmarks.growth import said
from benchmarks.memory import PeakMemory
from ssl_dml.files import write_json
from ssl_dml.heads import MarginSoftmax, attach_partial_fc
from ssl_dml.margins import ArcFace

BATCH, DIM, OPENED = 256, 512, 10_000


def class_table(
    classes: Sequence[int] = (10**5, 3 * 10**5, 10**6),
    *,
    largest: int = 10**6,
    rate: float = 0.1,
    rounds: int = 7,
    output: Path | None = None,
) -> None:
    """Print what a step costs at a fixed number of sampled classes, and at a fraction of them.

    A step draws classes, gathers their rows, computes ArcFace's loss and gradient of 256
    embeddings of 512 dimensions, and lets SGD with momentum and weight decay move the rows.

    Args:
        classes: Numbers of classes, above 10,000, of which a step draws about 10,000.
        largest: Number of classes that a fraction is compared with the whole at.
        rate: That fraction.
        rounds: Steps that each figure is the median of.
        output: JSON file for the table.

    Raises:
        ValueError: If there are not more classes than are drawn.
        OSError: If a process fails, as it does when memory runs out.
    """
    if min(classes, default=0) <= OPENED:
        raise ValueError(f"classes must be above {OPENED}, got {list(classes)}")
    print(f"{'classes':>10} {'drawn':>10} {'ms a step':>12} {'to the first':>14}", flush=True)
    times = drawn_costs(classes, rounds=rounds)
    for count, took in zip(classes, times, strict=True):
        ratio = took / times[0]
        print(f"{count:10,} {OPENED:10,} {1000 * took:12.0f} {ratio:14.2f}", flush=True)
    print(said("classes", classes, times))
    print(f"\n{'classes':>10} {'fraction':>10} {'s a step':>12} {'memory in all':>14}", flush=True)
    sampled, whole = (measure(largest, fraction, rounds=rounds) for fraction in (rate, 1.0))
    for fraction, cost in ((rate, sampled), (1.0, whole)):
        memory = f"{cost['megabytes']:,.0f} MB"
        print(f"{largest:10,} {fraction:10.2f} {cost['seconds']:12.2f} {memory:>14}")
    print(f"{'ratio':>21} {sampled['seconds'] / whole['seconds']:12.3f}")
    if output is not None:
        drawn = dict(zip(classes, times, strict=True))
        write_json(output, {"drawn": drawn, "fraction": {rate: sampled, 1.0: whole}})


def drawn_costs(classes: Sequence[int], *, rounds: int) -> list[float]:
    """Seconds a step that draws about 10,000 classes, the median for each number of classes.

    They take turns, so they share whatever else the machine is doing.
    """
    runs = [steps(count, OPENED / count) for count in classes]
    times: list[list[float]] = [[] for _ in classes]
    for number in range(rounds + 1):  # the first is to warm up
        for run, taken in zip(runs, times, strict=True):
            began = time.perf_counter()
            next(run)
            if number:
                taken.append(time.perf_counter() - began)
    return [median(taken) for taken in times]


def measure(classes: int, rate: float, *, rounds: int) -> dict[str, float]:
    """``seconds`` a step and ``megabytes`` at the peak of a process that does nothing else."""
    arguments = [str(value) for value in (classes, rate, rounds, torch.get_num_threads())]
    command = [sys.executable, "-m", __name__, *arguments]
    folder = Path(__file__).parents[1]  # where the module is found by its name
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if made.returncode:
        reason = (made.stderr.strip() or f"exit code {made.returncode}").split("\n")[-1]
        raise OSError(f"{classes} classes, fraction {rate}: {reason}")
    return json.loads(made.stdout)


def steps(classes: int, rate: float) -> Iterator[None]:
    """Endless training steps of class weights, without an encoder."""
    head = MarginSoftmax(DIM, classes, margin=ArcFace(), sample_rate=rate)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    attach_partial_fc(head, optimizer)
    generator = torch.Generator().manual_seed(0)
    while True:
        embeddings = torch.randn(BATCH, DIM, generator=generator).requires_grad_()
        labels = torch.randint(classes, (BATCH,), generator=generator)
        head(embeddings, labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield


def _work(classes: int, rate: float, rounds: int, threads: int) -> dict[str, float]:
    torch.set_num_threads(threads)
    times: list[float] = []
    run = steps(classes, rate)
    with PeakMemory(torch.device("cpu")) as memory:
        for number in range(rounds + 1):
            began = time.perf_counter()
            next(run)
            if number:
                times.append(time.perf_counter() - began)
    return {"seconds": median(times), "megabytes": memory.peak / 2**20}


if __name__ == "__main__":
    print(json.dumps(_work(int(sys.argv[1]), float(sys.argv[2]), *map(int, sys.argv[3:]))))
