"""Measure the toolkit: ``accelerate launch scripts/benchmark.py NAME``, one of BENCHMARKS below."""

import sys
import tempfile
from pathlib import Path

import torch
from pretrain import DEFAULT, PretrainConfig, build, open_data

from ssl_dml.benchmarks import bank_costs, compare_speed
from ssl_dml.config import ConfigError, parse, run
from ssl_dml.data import make_loader
from ssl_dml.distributed import world_size
from ssl_dml.memory import BankStorage
from ssl_dml.reporting import start_trackers
from ssl_dml.training import fit
from ssl_dml.training.hardware import make_accelerator
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


def bank_cost(args: list[str]) -> int:
    """Print what a step of NPID costs for banks of the sizes given, of 10^4 to 10^7 without."""
    if not all(arg.isdecimal() and int(arg) >= 256 for arg in args):
        raise ConfigError(f"bank takes numbers of rows, at least 256 each; got {' '.join(args)}")
    sizes = [int(arg) for arg in args] or [10**4, 10**5, 10**6, 10**7]
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    print("negatives for  rows kept in        rows   ms a step  ratio to the first", flush=True)
    for draw_for in ("batch", "sample"):
        for dtype in ("float32", "bfloat16"):
            storage = BankStorage(dtype=dtype)
            times = bank_costs(sizes, draw_for=draw_for, storage=storage, device=device)
            for size, took in zip(sizes, times, strict=True):
                row = (
                    f"{draw_for:13}  {dtype:12}  {size:10,}  {took:10.1f}  {took / times[0]:18.2f}"
                )
                print(row, flush=True)
    return 0


BENCHMARKS = {"pretrain": pretrain_speed, "bank": bank_cost}


def main() -> int:
    """Run the measurement that the first word names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in BENCHMARKS:
        raise ConfigError(f"there is no benchmark {name!r}; choose one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name](sys.argv[2:])


if __name__ == "__main__":
    run(main)
