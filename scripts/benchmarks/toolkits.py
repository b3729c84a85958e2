"""SimCLR here, in lightly and in stable-pretraining: its rate, and its kNN at equal time."""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.toolkit_runs import BATCH, USUAL
from ssl_dml.files import write_json

KINDS = {
    "ssl_dml": "ssl_dml",
    "lightly": "lightly",
    "lightly, bf16 and channels_last": "lightly",
    "stable-pretraining": "stable_pretraining",
}


def toolkit_table(
    kinds: Sequence[str] = tuple(KINDS),
    *,
    rounds: int = 3,
    steps: int = 20,
    output: Path | None = None,
) -> None:
    """Print samples a second of SimCLR by each, in turns, and how many times as fast this is.

    ResNet-18 of width 16 with a projector of two layers on 10,000 color images of 28 pixels, two
    views, batches of 256, SGD; two views of crops, flips, color jitter and grayscale. The others
    load as their examples do, with a worker for each core (pip install lightly, or
    stable-pretraining); each is a process of its own.

    Args:
        kinds: Which of ``ssl_dml``, ``lightly``, the same with ``bf16 and channels_last``, and
            ``stable-pretraining``.
        rounds: Processes of each.
        steps: Steps of a process that count.
        output: JSON file for the table.

    Raises:
        ValueError: If one is not installed.
        OSError: If a process fails.
    """
    _check_installed(kinds)
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            rates[kind].append(measure(kind, steps))
    found = {kind: median(rate) for kind, rate in rates.items()}
    for kind, rate in found.items():
        times = median(a / b for a, b in zip(rates[kinds[0]], rates[kind], strict=True))
        print(f"{kind:34} {rate:8.0f} samples/s {times:8.2f}", flush=True)
    if output is not None:
        write_json(output, {kind: {"rates": rate} for kind, rate in rates.items()})


def equal_time_table(
    kinds: Sequence[str] = ("ssl_dml", "lightly", "stable-pretraining"),
    *,
    source: str = USUAL,
    seconds: float = 60.0,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 20,
    output: Path | None = None,
) -> None:
    """Print weighted kNN after as many steps as each takes in equal time.

    The rate of each is measured first; each then trains with a schedule over its steps, that of
    ``ssl_dml pretrain`` or a cosine, as :func:`toolkit_table` describes it. The samples of both
    splits are RGB images of 28 pixels; the network is the same, and so is the kNN of its features.

    Args:
        kinds: As of :func:`toolkit_table`.
        source: Labeled images, as of ``data.source``.
        seconds: Time of training.
        seeds: One run each.
        steps: Steps of the measurement of the rate.
        output: JSON file for the table.

    Raises:
        ValueError: If one is not installed.
        OSError: If a process fails.
    """
    _check_installed(kinds)
    table: dict[str, Any] = {}
    for kind in kinds:
        rate = measure(kind, steps, source=source)
        count = max(1, round(rate * seconds / BATCH))
        scores = [measure(kind, count, source=source, seed=seed) for seed in seeds]
        table[kind] = {"rate": rate, "steps": count, "knn_top1": scores}
        told = " ".join(f"{score:.4f}" for score in scores)
        print(f"{kind:34} {rate:6.0f} samples/s {count:5} steps  kNN {told}", flush=True)
    if output is not None:
        write_json(output, table)


def _check_installed(kinds: Sequence[str]) -> None:
    for kind in kinds:
        if find_spec(KINDS[kind]) is None:
            raise ValueError(f"{KINDS[kind]} is not installed: pip install it, or give --kinds")


def measure(kind: str, steps: int, *, source: str = USUAL, seed: int | None = None) -> float:
    """Samples a second in a process of its own, or weighted kNN after steps from a seed.

    Raises:
        OSError: If the process fails.
    """
    args = {"kind": kind, "steps": steps, "source": source, "seed": seed}
    command = [
        sys.executable,
        "-m",
        "benchmarks.toolkit_runs",
        json.dumps(args),
        str(torch.get_num_threads()),
    ]
    folder = Path(__file__).parents[1]
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if made.returncode:
        reason = (made.stderr.strip() or f"exit code {made.returncode}").splitlines()[-1]
        raise OSError(f"{kind}: {reason}")
    return json.loads(made.stdout.splitlines()[-1])
