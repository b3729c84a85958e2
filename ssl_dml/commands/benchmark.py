"""Measure a run's speed beside the bare network: ``ssl_dml benchmark --config NAME``."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ssl_dml.backbones import initial
from ssl_dml.checks import at_least
from ssl_dml.commands import accelerator
from ssl_dml.commands.pretrain import PretrainConfig, build, read_data
from ssl_dml.config import component, parse_run
from ssl_dml.data import epochs, make_loader
from ssl_dml.distributed import world_size
from ssl_dml.progress import say
from ssl_dml.reporting import start_trackers
from ssl_dml.training import batches, fit, make_accelerator, make_optimizer

WARM_UP = 5


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(PretrainConfig):
    """A pretraining run whose speed is measured.

    Args:
        turns: Turns of the real run and of the bare network.
        steps_a_turn: Steps in each.
    """

    turns: int = 7
    steps_a_turn: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, turns=self.turns, steps_a_turn=self.steps_a_turn)


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
        """Samples a second of one turn."""
        _wait(device)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        _wait(device)
        return steps * samples / (time.perf_counter() - began)

    step_of = {"real": lambda: next(real), "bare": bare}
    for _ in range(WARM_UP):
        next(real)
        bare()
    speeds: dict[str, list[float]] = {"real": [], "bare": []}
    for number in range(rounds):
        for name in ("bare", "real") if number % 2 else ("real", "bare"):
            speeds[name].append(speed(step_of[name]))
    ratio = median(map(truediv, speeds["real"], speeds["bare"]))
    return {**{name: median(found) for name, found in speeds.items()}, "ratio": ratio}


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def benchmark(config: BenchmarkConfig, values: dict[str, Any]) -> dict[str, float]:
    """Samples a second of a real run and of its bare network, and their ratio.

    The bare network makes forward, backward and optimizer steps on one fixed batch of the same
    shape, precision and layout. Both take turns in one process.

    Args:
        config: The run; nothing is written into its folder.
        values: The same as plain values.
    """
    run = make_accelerator(config.train, seed=config.seed)
    begin = initial(config.init, *component(values, "backbone"))
    train, _, _ = read_data(config, begin)
    order = epochs(train, config.data, seed=config.seed)
    plan = config.train.plan(order.per_epoch)
    augment = config.augment(train.spec).to(run.device)
    method = build(config, begin, train, plan)
    optimizer, scheduler = make_optimizer(method, config, plan)
    model, optimizer = run.prepare(method, optimizer)
    loader = make_loader(train, order, workers=config.data.workers, device=run.device)
    inputs = batches(loader, augment, run.device, train.labels, train.aspects)
    fixed = next(inputs)

    def bare() -> None:
        """One step on the fixed batch."""
        for _ in range(plan.accumulation):
            run.backward(model(fixed).loss)
            optimizer.step()
            optimizer.zero_grad()

    with tempfile.TemporaryDirectory() as folder:
        start_trackers(run, Path(folder), step=0, steps=plan.steps, steps_per_epoch=plan.per_epoch)
        real = fit(
            model,
            optimizer,
            scheduler,
            inputs,
            start=0,
            steps=sys.maxsize,
            config=config.train,
            accelerator=run,
        )
        samples = len(fixed.indices) * world_size() * plan.accumulation
        turns = {"rounds": config.turns, "steps": config.steps_a_turn}
        found = compare_speed(real, bare, samples=samples, device=run.device, **turns)
        run.end_training()
    return found


def main(args: list[str] | None = None) -> None:
    """Parse the command line, measure, print; the word ``accelerator`` checks that instead."""
    args = sys.argv[1:] if args is None else args
    if args[:1] == ["accelerator"]:
        accelerator.main(args[1:])
        return
    config, values = parse_run(BenchmarkConfig, args, kind="pretrain", default="default")
    found = benchmark(config, values)
    say(f"real run      {found['real']:8.0f} samples/s")
    say(f"bare network  {found['bare']:8.0f} samples/s")
    say(f"ratio         {found['ratio']:8.3f}")
