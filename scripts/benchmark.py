"""Measure the toolkit: ``accelerate launch scripts/benchmark.py pretrain --config FILE``."""

import sys
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from pretrain import DEFAULT, PretrainConfig, build, open_data

from ssl_dml.benchmarks import compare_speed
from ssl_dml.benchmarks.tiles import measure
from ssl_dml.config import ConfigError, parse, run
from ssl_dml.data import make_loader
from ssl_dml.distributed import world_size
from ssl_dml.reporting import start_trackers
from ssl_dml.training import fit
from ssl_dml.training.hardware import make_accelerator, use_threads
from ssl_dml.training.inputs import view_batches


def pretrain_speed(args: list[str]) -> int:
    """Print the real run's samples a second, the bare network's, and their ratio."""
    config, _ = parse(PretrainConfig, args, default=DEFAULT, either=("train.steps", "train.epochs"))
    accelerator = make_accelerator(config.train, seed=config.seed)
    device = accelerator.device
    train, _, _ = open_data(config, accelerator.print)
    augment = config.augment(train.spec).to(device)
    method, optimizer, scheduler, steps = build(config, train)
    model, optimizer = accelerator.prepare(method, optimizer)
    loader = make_loader(train, config.data, seed=config.seed)
    inputs = view_batches(loader, augment, device)
    fixed = next(inputs)

    def bare() -> None:
        accelerator.backward(model(*fixed).loss)
        optimizer.step()
        optimizer.zero_grad()

    with tempfile.TemporaryDirectory() as folder:
        start_trackers(accelerator, Path(folder), step=0, steps=steps, steps_per_epoch=1.0)
        real = fit(
            model,
            optimizer,
            scheduler,
            inputs,
            start=0,
            steps=sys.maxsize,
            config=config.train,
            accelerator=accelerator,
        )

        def bare_step() -> None:
            for _ in range(config.train.accumulation):
                bare()

        samples = len(fixed[1]) * world_size() * config.train.accumulation
        found = compare_speed(real, bare_step, samples=samples, device=device)
        accelerator.end_training()
    accelerator.print(
        f"real run      {found['real']:8.0f} samples/s\n"
        f"bare network  {found['bare']:8.0f} samples/s\n"
        f"ratio         {found['ratio']:8.3f}"
    )
    return 0


@dataclass(frozen=True, kw_only=True)
class TilesConfig:
    """NT-Xent in tiles beside the whole matrix.

    Args:
        rows: Batches to measure, in views.
        largest_dense: Rows above which the whole matrix is left out: it takes 16 bytes and more
            for each pair of rows.
        peer: The other loss: lightly's (pip install lightly), or plain torch.
    """

    rows: list[int] = field(default_factory=lambda: [1024, 4096, 16384, 65536, 131072])
    largest_dense: int = 16384
    peer: Literal["lightly", "dense"] = "lightly"


def tiles(args: list[str]) -> int:
    """Print time, memory and largest difference of both."""
    config, _ = parse(TilesConfig, args)
    if config.peer == "lightly" and find_spec("lightly") is None:
        raise ConfigError("lightly is not installed: pip install lightly, or give --peer dense")
    use_threads(None, torch.device("cpu"))
    print(f"{'rows':>8} {'tiles':>18} {config.peer:>18} {'faster':>8} {'largest difference':>20}")
    with tempfile.TemporaryDirectory() as folder:
        for rows in config.rows:
            cost, found = measure("tiles", rows, Path(folder))
            line = f"{rows:8} {cost['seconds']:8.2f} s {cost['megabytes']:5.0f} MB"
            if rows <= config.largest_dense:
                other, expected = measure(config.peer, rows, Path(folder))
                apart = max(
                    (a - b).abs().max().item() for a, b in zip(found, expected, strict=True)
                )
                ratio = other["seconds"] / cost["seconds"]
                line += f" {other['seconds']:8.2f} s {other['megabytes']:5.0f} MB"
                line += f" {ratio:7.1f}x {apart:20.1e}"
            print(line, flush=True)
    return 0


BENCHMARKS = {"pretrain": pretrain_speed, "tiles": tiles}


def main() -> int:
    """Run the measurement that the first word names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in BENCHMARKS:
        raise ConfigError(f"there is no benchmark {name!r}; choose one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name](sys.argv[2:])


if __name__ == "__main__":
    run(main)
