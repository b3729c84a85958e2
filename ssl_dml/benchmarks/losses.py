"""Time and memory of losses beside those of pytorch-metric-learning."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from multiprocessing import get_context
from statistics import median
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from ssl_dml.benchmarks.memory import PeakMemory
from ssl_dml.benchmarks.peers import CASES, loss_of

DIM, ROUNDS, FEWEST = 128, 9, 3
WATCHED = 0.3
P = ParamSpec("P")
T = TypeVar("T")
Side = Literal["ours", "theirs"]


class Cost(NamedTuple):
    """What a forward and backward pass takes.

    Attributes:
        seconds: Of the first one.
        megabytes: By which the peak memory of its process rose above the inputs.
    """

    seconds: float
    megabytes: float


def loss_table(
    rows: Sequence[int] = (64, 256, 1024, 4096),
    *,
    losses: Sequence[str] = tuple(CASES),
    gigabytes: float = 8.0,
    seconds: float = 60.0,
) -> None:
    """Print time and peak memory of losses on rows of 128 dimensions, theirs beside ours.

    Times are medians of passes that take turns; memory is that of a process of its own. What
    would take more than the limits, by its growth from smaller batches, is not run.

    Args:
        rows: Batches, in rising order.
        losses: Which losses.
        gigabytes: Limit of memory.
        seconds: Limit of a pass.

    Raises:
        ValueError: If there is no such loss, or pytorch-metric-learning is not installed.
    """
    for name in losses:
        if name not in CASES:
            raise ValueError(f"there is no loss {name!r}; choose from {', '.join(CASES)}")
    if find_spec("pytorch_metric_learning") is None:
        raise ValueError("pytorch-metric-learning is not installed: pip install it")
    limit = Cost(seconds, gigabytes * 1024)
    print(f"{'loss':22} {'rows':>5} {'ours':>22} {'theirs':>26} {'faster':>8} {'difference':>11}")
    for name in losses:
        known: dict[str, dict[int, Cost]] = {"ours": {}, "theirs": {}}
        for count in rows:
            print(f"{name:22} {count:5} {_line(name, count, known, limit)}".rstrip(), flush=True)


def _line(name: str, rows: int, known: dict[str, dict[int, Cost]], limit: Cost) -> str:
    """One size of a loss, in columns."""
    cells, sides = {}, []
    for side in ("ours", "theirs")[: 1 + (CASES[name].theirs is not None)]:
        guess = expected(known[side], rows)
        if guess.seconds > limit.seconds or guess.megabytes > limit.megabytes:
            cells[side] = f"not run: {guess.seconds:.0f} s, {guess.megabytes / 1024:.0f} GB"
            continue
        known[side][rows] = in_child(measure_memory, name, side, rows, torch.get_num_threads())
        sides.append(side)
    times, values = in_child(
        measure_times, name, sides, rows, torch.get_num_threads(), limit.seconds
    )
    for side in sides:
        took, held = 1000 * times[side], known[side][rows].megabytes
        cells[side] = f"{took:10.1f} ms {held:5.0f} MB"
    line = f"{cells['ours']:>22} {cells.get('theirs', ''):>26}"
    if len(sides) == 1 + (CASES[name].theirs is not None) == 2:  # noqa: PLR2004 - both
        apart = abs(values["ours"] - values["theirs"]) / max(abs(values["theirs"]), 1e-12)
        line += f" {times['theirs'] / times['ours']:7.1f}x {apart:11.1e}"
    return line


def expected(known: dict[int, Cost], rows: int) -> Cost:
    """Cost at a size from those of smaller ones, of which the last two say how it grows.

    It is taken to grow with the square at least, and with the cube where there is one size only.
    """
    if not known:
        return Cost(0.0, 0.0)
    sizes = sorted(known)
    ratio = rows / sizes[-1]
    if len(sizes) == 1:
        return Cost(*(value * ratio**3 for value in known[sizes[-1]]))
    steps = math.log(sizes[-1] / sizes[-2])
    powers = (
        math.log(max(last, 1e-9) / max(before, 1e-9)) / steps
        for before, last in zip(known[sizes[-2]], known[sizes[-1]], strict=True)
    )
    pairs = zip(known[sizes[-1]], powers, strict=True)
    return Cost(*(value * ratio ** min(max(power, 2.0), 3.0) for value, power in pairs))


def in_child(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function returns in a process of its own, of which nothing is left.

    Raises:
        OSError: If the process is killed, as it is when memory runs out.
    """
    context = get_context("forkserver")  # which imports once
    context.set_forkserver_preload(["__main__", __name__, "pytorch_metric_learning.losses"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool as error:
            words = " ".join(map(str, args))
            raise OSError(f"the process was killed that measured {words}") from error


def measure_memory(name: str, side: Side, rows: int, threads: int) -> Cost:
    """Time of a first pass, and peak memory of as many as are enough to watch it."""
    torch.set_num_threads(threads)
    step = _pass(name, side, rows)
    with PeakMemory(torch.device("cpu")) as memory:
        began = time.perf_counter()
        step()
        first = time.perf_counter() - began
        while time.perf_counter() - began < WATCHED:
            step()
    return Cost(first, memory.megabytes)


def measure_times(
    name: str, sides: Sequence[Side], rows: int, threads: int, seconds: float
) -> tuple[dict[Side, float], dict[Side, float]]:
    """Median time of passes that take turns, and the value of each side.

    Args:
        name: Which loss.
        sides: Whose.
        rows: Rows of the batch.
        threads: Threads of torch.
        seconds: After so many there are no more turns than are needed for a median.
    """
    torch.set_num_threads(threads)
    steps = {side: _pass(name, side, rows) for side in sides}
    times: dict[Side, list[float]] = {side: [] for side in sides}
    values: dict[Side, float] = {}
    begun = time.perf_counter()
    for number in range(ROUNDS):
        if number >= FEWEST and time.perf_counter() - begun > seconds:
            break
        for side, step in steps.items():
            began = time.perf_counter()
            values[side] = step()
            times[side].append(time.perf_counter() - began)
    return {side: median(taken) for side, taken in times.items()}, values


def _pass(name: str, side: Side, rows: int) -> Callable[[], float]:
    """A forward and backward pass on fixed rows, once what the first call loads is loaded."""

    def make(count: int) -> tuple[Any, Tensor, Tensor]:
        of_each = CASES[name].of_each or math.isqrt(count)
        torch.manual_seed(0)
        classes = count // of_each
        labels = torch.arange(classes).repeat_interleave(of_each)
        return loss_of(name, side, classes, DIM), torch.randn(len(labels), DIM), labels

    def step(loss: Any, batch: Tensor, labels: Tensor) -> float:  # noqa: ANN401
        value = loss(batch.requires_grad_(), labels)
        value.backward()
        batch.grad = None
        return value.item()

    step(*make(64))
    inputs = make(rows)
    return lambda: step(*inputs)
