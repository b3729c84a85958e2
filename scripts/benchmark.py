"""Measure the toolkit: ``accelerate launch scripts/benchmark.py pretrain --config FILE``.

``benchmark.py NAME --help`` says what a table takes: ``methods`` and ``finetune`` train and compare
recipes; ``tiles`` and ``losses`` compare losses with other toolkits', ``bank`` and ``classes`` the
cost of a step by the size of its bank or its class weights; ``speech FOLDER`` makes the labeled
audio that CPC is measured on.
"""

import sys
import tempfile
from pathlib import Path

from jsonargparse import auto_cli
from pretrain import DEFAULT, PretrainConfig, build, open_data

from ssl_dml.benchmarks import (
    bank_table,
    class_table,
    compare_speed,
    finetune_table,
    loss_table,
    method_table,
    speak,
    tile_table,
)
from ssl_dml.config import ConfigError, parse, run
from ssl_dml.data import make_loader
from ssl_dml.distributed import world_size
from ssl_dml.reporting import start_trackers
from ssl_dml.training import fit
from ssl_dml.training.accelerator import make_accelerator
from ssl_dml.training.inputs import batches


def pretrain_speed(args: list[str]) -> int:
    """Print the real run's samples a second, the bare network's, and their ratio."""
    config, _ = parse(PretrainConfig, args, default=DEFAULT, either=("train.steps", "train.epochs"))
    accelerator = make_accelerator(config.train, seed=config.seed)
    device = accelerator.device
    train, _, _ = open_data(config, accelerator.print)
    augment = config.augment(train.spec).to(device)
    method, optimizer, scheduler, steps = build(config, train, accelerator.print)
    model, optimizer = accelerator.prepare(method, optimizer)
    loader = make_loader(train, config.data, seed=config.seed)
    inputs = batches(loader, augment, device, train.labels)
    fixed = next(inputs)

    def bare() -> None:
        accelerator.backward(model(fixed).loss)
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

        samples = len(fixed.indices) * world_size() * config.train.accumulation
        found = compare_speed(real, bare_step, samples=samples, device=device)
        accelerator.end_training()
    accelerator.print(
        f"real run      {found['real']:8.0f} samples/s\n"
        f"bare network  {found['bare']:8.0f} samples/s\n"
        f"ratio         {found['ratio']:8.3f}"
    )
    return 0


# Each takes its own arguments from the command line.
TABLES = {
    "bank": bank_table,
    "classes": class_table,
    "finetune": finetune_table,
    "losses": loss_table,
    "methods": method_table,
    "speech": speak,
    "tiles": tile_table,
}


def main() -> int:
    """Run the measurement that the first word names."""
    name, args = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:]
    if name == "pretrain":
        return pretrain_speed(args)
    if name not in TABLES:
        known = ", ".join(["pretrain", *TABLES])
        raise ConfigError(f"there is no benchmark {name!r}; choose one of {known}")
    auto_cli(TABLES[name], args=args)
    return 0


if __name__ == "__main__":
    run(main)
