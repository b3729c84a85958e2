"""Measure a run's speed beside the bare network: ``ssl_dml benchmark --config NAME``."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from ssl_dml.backbones import initial
from ssl_dml.backbones.norms import synchronize_batch_norm
from ssl_dml.checks import at_least
from ssl_dml.commands import accelerator, finetune, pretrain
from ssl_dml.config import component, parse_run
from ssl_dml.data import epochs, make_loader
from ssl_dml.data.labeled import LabeledBatches
from ssl_dml.distributed import world_size
from ssl_dml.heads import attach_partial_fc
from ssl_dml.progress import say
from ssl_dml.reporting import start_trackers
from ssl_dml.training import (
    Pretrainer,
    batches,
    fit,
    make_accelerator,
    make_optimizer,
    place,
    split_encoders,
)

WARM_UP = 5


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(pretrain.PretrainConfig):
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


class Sides(NamedTuple):
    """A run, ready to be measured.

    Attributes:
        real: Makes a step of the run each time it is advanced.
        bare: Makes forward, backward and optimizer step on one fixed batch, at each call.
        samples: Samples in a step, over all processes.
        device: Where both run.
    """

    real: Iterator[Any]
    bare: Callable[[], Any]
    samples: int
    device: torch.device


@contextmanager
def sides(
    config: pretrain.PretrainConfig | finetune.FinetuneConfig, values: dict[str, Any]
) -> Iterator[Sides]:
    """The real run, and its bare network on one fixed batch of the same shape and precision.

    Args:
        config: The run; nothing is written into its folder.
        values: The same as plain values.
    """
    run = make_accelerator(config.train, seed=config.seed)
    device, data = run.device, config.data
    begin = initial(config.init, *component(values, "backbone"))
    if isinstance(config, pretrain.PretrainConfig):
        train, _, _ = pretrain.read_data(config, begin)
        order, labels = epochs(train, data, seed=config.seed), train.labels
        plan = config.train.plan(order.per_epoch)
        model = Pretrainer(pretrain.build(config, begin, train, plan))
    else:
        train, rows, _ = finetune.read_data(config, begin)
        order = LabeledBatches(rows, config.labels, batch_size=data.batch_size, seed=config.seed)
        labels, plan = rows.given, config.train.plan(order.per_epoch)
        model = finetune.build(config, begin, train, rows.num_classes)
    augment = config.augment(train.spec).to(device)
    split_encoders(synchronize_batch_norm(model).encoders)
    optimizer, scheduler = make_optimizer(model, config, plan)
    attach_partial_fc(model, optimizer)
    place(model, device, compiled=config.train.compile)
    prepared, optimizer = run.prepare(model, optimizer)
    loader = make_loader(train, order, workers=data.workers, device=device)
    inputs = batches(loader, augment, device, labels, train.aspects)
    fixed = next(inputs)

    def bare() -> None:
        """One step on the fixed batch."""
        for _ in range(plan.accumulation):
            run.backward(prepared(fixed).loss)
            optimizer.step()
            optimizer.zero_grad()

    with tempfile.TemporaryDirectory() as folder:
        start_trackers(run, Path(folder), step=0, steps=plan.steps, steps_per_epoch=plan.per_epoch)
        settings = {"config": config.train, "accelerator": run}
        steps = {"start": 0, "steps": sys.maxsize}
        real = fit(prepared, optimizer, scheduler, inputs, **steps, **settings)
        yield Sides(real, bare, len(fixed.indices) * world_size() * plan.accumulation, device)
        run.end_training()


def benchmark(config: BenchmarkConfig, values: dict[str, Any]) -> dict[str, float]:
    """Samples a second of a real run and of its bare network, and their ratio.

    The bare network makes forward, backward and optimizer steps on one fixed batch of the same
    shape, precision and layout. Both take turns in one process.

    Args:
        config: The run; nothing is written into its folder.
        values: The same as plain values.
    """
    turns = {"rounds": config.turns, "steps": config.steps_a_turn}
    with sides(config, values) as run:
        return compare_speed(run.real, run.bare, samples=run.samples, device=run.device, **turns)


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
