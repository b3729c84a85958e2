"""Time and memory of losses beside those of pytorch-metric-learning."""

import math
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from statistics import median
from typing import NamedTuple, ParamSpec, TypeVar

import psutil
import torch
from torch import Tensor

from benchmarks.loss_cases import CASES, Loss, Side, loss_of
from benchmarks.memory import PeakMemory

DIM, WARM_UP = 128, 64
FEWEST, ROUNDS, MOST = 3, 9, 99
LONG = 1.0  # seconds that quick passes are repeated for
WATCHED = 0.3  # seconds for which memory is sampled at least
P = ParamSpec("P")
T = TypeVar("T")


class Cost(NamedTuple):
    """What a forward and backward pass takes.

    Attributes:
        seconds: Of the first one.
        gigabytes: By which the peak memory of its process rose above the inputs.
    """

    seconds: float
    gigabytes: float


def loss_table(
    rows: Sequence[int] = (64, 256, 1024, 4096),
    *,
    losses: Sequence[str] = tuple(CASES),
    gigabytes: float = 8.0,
    seconds: float = 60.0,
) -> None:
    """Print time and peak memory of losses on rows of 128 dimensions, theirs beside ours.

    Both are set up to be the same loss, and the last column is how far their values differ. Times
    are medians of passes that take turns; memory is that of a process of its own. What would take
    more than a limit, by its growth from smaller batches, is not run.

    Args:
        rows: Batches, in rising order.
        losses: Which losses.
        gigabytes: Limit of the memory of a pass.
        seconds: Limit of its time.

    Raises:
        ValueError: If there is no such loss, or pytorch-metric-learning is not installed.
    """
    for name in losses:
        if name not in CASES:
            raise ValueError(f"losses has no {name!r}; choose from {', '.join(CASES)}")
    if find_spec("pytorch_metric_learning") is None:
        raise ValueError(
            "pytorch-metric-learning is not installed: pip install pytorch-metric-learning"
        )
    limit = Cost(seconds, gigabytes)
    print(f"{'loss':22} {'rows':>5} {'ours':>24} {'theirs':>24} {'faster':>8} {'difference':>11}")
    for name in losses:
        known: dict[Side, dict[int, Cost]] = {"ours": {}, "theirs": {}}
        for count in rows:
            line = _line(name, count, known, limit)
            print(f"{name:22} {count:5} {line}".rstrip(), flush=True)


def _line(name: str, rows: int, known: dict[Side, dict[int, Cost]], limit: Cost) -> str:
    """One size of a loss, in columns."""
    threads = torch.get_num_threads()
    cells: dict[Side, str] = {"ours": "", "theirs": ""}
    measured: list[Side] = []
    sides: tuple[Side, ...] = ("ours", "theirs")
    for side in sides if CASES[name].theirs else sides[:1]:
        guess = expected(known[side], rows)
        cells[side] = f"about {guess.seconds:.0f} s, {guess.gigabytes:.0f} GB"
        if guess.seconds <= limit.seconds and guess.gigabytes <= limit.gigabytes:
            found = in_child(measure_cost, name, side, rows, threads, limit.gigabytes)
            known[side][rows] = found or Cost(math.inf, math.inf)
            cells[side] = f"over {limit.gigabytes:g} GB"
            if found:
                measured.append(side)
    found = in_child(measure_times, name, measured, rows, threads, limit.seconds)
    for side, (seconds, _) in found.items():
        cells[side] = f"{1000 * seconds:10.2f} ms {1024 * known[side][rows].gigabytes:6.0f} MB"
    line = f"{cells['ours']:>24} {cells['theirs']:>24}"
    if "theirs" in found and "ours" in found:
        (ours, value), (theirs, other) = found["ours"], found["theirs"]
        apart = abs(value - other) / max(abs(other), 1e-12)
        line += f" {theirs / ours:7.2f}x {apart:11.1e}"
    return line


def expected(known: dict[int, Cost], rows: int) -> Cost:
    """Cost of a batch from those of smaller ones, of which the last two say how it grows.

    That is taken to be with the square at least and with the cube at most; with the cube where
    there is one size only.
    """
    if not known:
        return Cost(0.0, 0.0)
    *_, size = sizes = sorted(known)
    powers = [3.0, 3.0]
    if len(sizes) > 1:
        steps = math.log(size / sizes[-2])
        pairs = zip(known[sizes[-2]], known[size], strict=True)
        powers = [math.log(max(b, 1e-9) / max(a, 1e-9)) / steps for a, b in pairs]
    growth = ((rows / size) ** min(max(power, 2.0), 3.0) for power in powers)
    return Cost(*(cost * by for cost, by in zip(known[size], growth, strict=True)))


def in_child(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function returns in a process of its own, of which nothing is left."""
    context = get_context("forkserver")  # imports once, for all
    context.set_forkserver_preload(["__main__", __name__, "pytorch_metric_learning.losses"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args, **kwargs).result()


def measure_cost(name: str, side: Side, rows: int, threads: int, gigabytes: float) -> Cost | None:
    """Time of a first pass, and peak memory of as many as can be watched; None beyond a limit."""
    torch.set_num_threads(threads)
    step = _pass(name, side, rows)
    with PeakMemory(torch.device("cpu")) as memory:
        most = psutil.Process().memory_info().vms + int(gigabytes * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        began = time.perf_counter()
        try:
            step()
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            return None
        first = time.perf_counter() - began
        while time.perf_counter() - began < WATCHED:
            step()
    return Cost(first, memory.megabytes / 1024)


def measure_times(
    name: str, sides: Sequence[Side], rows: int, threads: int, seconds: float
) -> dict[Side, tuple[float, float]]:
    """Median time of passes that take turns, and the value, of each side.

    Args:
        name: Which loss.
        sides: Whose.
        rows: Rows of the batch.
        threads: Threads of torch.
        seconds: After so many there are no more turns than a median needs.
    """
    torch.set_num_threads(threads)
    steps = {side: _pass(name, side, rows) for side in sides}
    times: dict[Side, list[float]] = {side: [] for side in sides}
    values: dict[Side, float] = {}
    begun = time.perf_counter()
    for number in range(MOST):
        taken = time.perf_counter() - begun
        if (number >= FEWEST and taken > seconds) or (number >= ROUNDS and taken > LONG):
            break
        for side in sides:
            began = time.perf_counter()
            values[side] = steps[side]()
            times[side].append(time.perf_counter() - began)
    return {side: (median(times[side]), values[side]) for side in sides}


def _pass(name: str, side: Side, rows: int) -> Callable[[], float]:
    """A forward and backward pass on fixed rows, once what the first call loads is loaded."""
    case = CASES[name]

    def make(count: int) -> tuple[Loss, Tensor, Tensor]:
        of_each = case.of_each or math.isqrt(count)
        labels = torch.arange(count // of_each).repeat_interleave(of_each)
        classes = max(case.classes, count // of_each)
        torch.manual_seed(0)
        return loss_of(name, side, classes, DIM), torch.randn(len(labels), DIM), labels

    def step(loss: Loss, batch: Tensor, labels: Tensor) -> float:
        value = loss(batch.requires_grad_(), labels)
        value.backward()
        batch.grad = None
        return value.item()

    step(*make(WARM_UP))
    inputs = make(rows)
    return lambda: step(*inputs)
