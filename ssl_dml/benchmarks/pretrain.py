"""What fraction of a bare network's speed a real run reaches."""

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch

WARM_UP = 5


def compare_speed(
    real: Iterator[Any],
    bare: Callable[[], Any],
    *,
    samples: int,
    device: torch.device,
    rounds: int = 7,
    steps: int = 20,
) -> dict[str, float]:
    """Samples a second of both, in turns within one process, and their ratio.

    Turns share whatever else the machine is doing, so their ratio is steadier than either speed.

    Args:
        real: Makes one step of the real run each time it is advanced.
        bare: Makes one step of the bare network each time it is called.
        samples: Samples in a step.
        device: Where both run.
        rounds: Turns of each.
        steps: Steps in a turn.

    Returns:
        ``real`` and ``bare``, medians over turns in samples a second, and ``ratio``, the median
        of the turns' ratios.
    """

    def speed(step: Callable[[], Any]) -> float:
        _wait(device)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        _wait(device)
        return steps * samples / (time.perf_counter() - began)

    for _ in range(WARM_UP):
        next(real)
        bare()
    turns: list[tuple[float, float]] = []
    for number in range(rounds):
        first = number % 2 == 0
        a = speed(lambda: next(real)) if first else speed(bare)
        b = speed(bare) if first else speed(lambda: next(real))
        turns.append((a, b) if first else (b, a))
    return {
        "real": median(a for a, _ in turns),
        "bare": median(b for _, b in turns),
        "ratio": median(a / b for a, b in turns),
    }


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
