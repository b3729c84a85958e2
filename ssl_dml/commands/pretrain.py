"""Pretrain a backbone without labels: ``ssl_dml pretrain --config NAME``."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ssl_dml.backbones import Backbone, Initial, initial, save
from ssl_dml.config import component, parse_run
from ssl_dml.data import SampleSet, epochs, load_test, load_train, make_loader
from ssl_dml.data.config import as_published, decoded_for
from ssl_dml.data.understood import announce, describe
from ssl_dml.evaluation import ProbeConfig, ProbeSplit, baseline, open_probe, probe_method
from ssl_dml.methods import Method, RunInfo
from ssl_dml.progress import say
from ssl_dml.reporting import finish, record_probe, show_first, summary
from ssl_dml.training import (
    Plan,
    RunConfig,
    batches,
    claim,
    fit,
    in_chunks,
    make_accelerator,
    make_optimizer,
    start_run,
)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """A pretraining run.

    Args:
        method: The training objective around the backbone, given what it is told of the run.
        evaluation: How the backbone is probed.
    """

    method: Callable[[Backbone, RunInfo], Method]
    evaluation: ProbeConfig = field(default_factory=ProbeConfig)


def read_data(
    config: PretrainConfig, begin: Initial
) -> tuple[SampleSet, ProbeSplit | None, dict[str, Any]]:
    """The samples to train on, the probe's split if there are labels, and what was read."""
    train = load_train(decoded_for(as_published(config.data, begin.preset), begin.inputs))
    test = load_test(config.data, train)
    announce(train, test)
    split = open_probe(train, test, config.evaluation)
    return train, split, describe(train, test, config.data.source)


def build(config: PretrainConfig, begin: Initial, train: SampleSet, plan: Plan) -> Method:
    """The method around the backbone that it starts from."""
    run_info = RunInfo(
        num_instances=len(train),
        batch_size=config.data.batch_size,
        num_batches=plan.steps * plan.accumulation,
        labeled=train.labels is not None,
    )
    start = config.backbone if config.init is None else begin.backbone
    return config.method(in_chunks(start(train.spec), config.train.encode_chunk), run_info)


def pretrain(config: PretrainConfig, values: dict[str, Any]) -> None:
    """Train and probe, from the start or the newest checkpoint, to the last step; save.

    Args:
        config: The run.
        values: The same as plain values, for ``config.yaml``.
    """
    # First, so that the processes of the run claim its folder together.
    accelerator = make_accelerator(config.train, seed=config.seed)
    with claim(config.output_dir, resume=config.resume):
        device = accelerator.device
        begin = initial(config.init, *component(values, "backbone"), trust=config.trust)
        train, split, data = read_data(config, begin)
        order = epochs(train, config.data, seed=config.seed)
        plan = config.train.plan(order.per_epoch)

        augment = config.augment(train.spec).to(device)
        method = build(config, begin, train, plan)
        optimizer, scheduler = make_optimizer(method, config, plan)
        model, optimizer = accelerator.prepare(method, optimizer)
        state = {"model": method, "optimizer": optimizer, "scheduler": scheduler}
        run = start_run(config, values, accelerator, plan=plan, state=state, data=data)

        settings = {"config": config.evaluation, "device": device}
        measure = partial(probe_method, method, train, split, augment, **settings)
        rest = order.skip(run.batches_done)
        loader = make_loader(train, rest, workers=config.data.workers, device=device)
        inputs = batches(loader, augment, device, train.labels)
        if run.start == 0:
            accelerator.log({"data/damaged": len(train.damaged)}, step=0)
            record_probe(accelerator, 0, {**measure(), **baseline(split, **settings)})
            inputs = show_first(inputs, train, accelerator)
        steps = fit(model, optimizer, scheduler, inputs, **run.training)
        for step in run.checkpointed(steps):
            if plan.due(step, every_epochs=config.evaluation.every_epochs):
                record_probe(accelerator, step, measure())

        if accelerator.is_main_process:
            trained = {"method": component(values, "method")[0], "steps": plan.steps, "data": data}
            arguments = (begin.class_path, begin.init_args)
            save(method.backbone, config.output_dir / "backbone", *arguments, trained=trained)
        finish(accelerator)
        say(summary(config.output_dir, config.init))


def main(args: list[str] | None = None) -> Path:
    """Parse the command line, pretrain, and return the run folder."""
    config, values = parse_run(PretrainConfig, args, kind="pretrain", default="default")
    pretrain(config, values)
    return config.output_dir
