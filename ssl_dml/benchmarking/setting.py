"""Where a check runs, and how it says that it failed."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_dml.reading import parse_json

WARM_UP = 2
LAST = 400  # characters of what a command that failed has said
Found = dict[str, Any]  # plain values by name


class NotHereError(Exception):
    """What a check needs is not on this machine."""


class FailedError(Exception):
    """What a check found is not what it should be."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where checks run.

    Args:
        device: What is checked, against the CPU.
        small: Sizes of a rehearsal, which measures nothing.
        folder: An empty folder for what checks write.
        command: Words that start a command of the toolkit.
        at_once: Commands that run beside each other where time is not measured.
    """

    device: torch.device
    small: bool
    folder: Path
    command: Sequence[str]
    at_once: int = 1

    def run(self, *arguments: object) -> str:
        """What a command of the toolkit prints.

        Raises:
            FailedError: With the last of what it said, if it fails.
        """
        words = [*self.command, *map(str, arguments)]
        own = {
            **os.environ,
            "OMP_WAIT_POLICY": "passive",
        }  # threads that spin slow those beside them
        made = subprocess.run(words, capture_output=True, text=True, check=False, env=own)
        if made.returncode:
            said = (made.stderr or made.stdout).strip()[-LAST:]
            raise FailedError(f"{arguments[0]}: exit code {made.returncode}: {said}")
        return made.stdout

    def beside(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """The results of several jobs, which start commands and wait for them."""
        with ThreadPoolExecutor(self.at_once) as pool:
            return [job.result() for job in [pool.submit(job) for job in jobs]]

    def wait(self) -> None:
        """Wait until the device has done all."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def seconds(self, step: Callable[[], Any], rounds: int) -> float:
        """Mean time of a step that has been warmed up."""
        for _ in range(WARM_UP):
            step()
        self.wait()
        began = time.perf_counter()
        for _ in range(rounds):
            step()
        self.wait()
        return (time.perf_counter() - began) / rounds


def rows_of(run: Path) -> list[dict[str, Any]]:
    """What a run has logged."""
    return [dict(parse_json(line)) for line in (run / "metrics.jsonl").read_text().splitlines()]


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a part of the largest expected value.

    >>> apart(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 4.0]))
    0.25
    """
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def at_most(limit: float, found: dict[str, float], what: str) -> None:
    """Raise if one of some numbers is above a limit, or is none.

    Raises:
        FailedError: Naming the numbers.

    >>> at_most(0.1, {"SimCLR": 0.05, "MoCo": 0.2}, "loss")
    Traceback (most recent call last):
    ssl_dml.benchmarking.setting.FailedError: loss beyond 0.1: MoCo 0.2
    """
    beyond = [f"{name} {value:.2g}" for name, value in found.items() if not value <= limit]
    if beyond:
        raise FailedError(f"{what} beyond {limit:g}: {', '.join(beyond)}")
