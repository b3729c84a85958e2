"""Pretrain a backbone without labels: ``ssl_dml pretrain --config NAME``."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from accelerate import Accelerator

from ssl_dml.backbones import Backbone, Initial, initial, save
from ssl_dml.backbones.norms import synchronize_batch_norm
from ssl_dml.checks import at_least
from ssl_dml.config import ConfigError, beside_default, component, parse, parse_run
from ssl_dml.data import SampleSet, epochs, load_test, load_train, make_loader
from ssl_dml.data.config import as_published, decoded_for
from ssl_dml.data.traits import Traits, traits_of
from ssl_dml.data.understood import announce, announce_leak, describe
from ssl_dml.distributed import has_split_weights, rank
from ssl_dml.evaluation import ProbeConfig, baseline, gain_of, open_probe, probe_method
from ssl_dml.evaluation.sketch import sketch_run
from ssl_dml.methods import Method, RunInfo, nested
from ssl_dml.progress import say
from ssl_dml.reporting import finish, record_probe, show_first, summary
from ssl_dml.training import (
    AdaptSettings,
    Allocations,
    Average,
    Guard,
    GuardSettings,
    Model,
    Plan,
    Pretrainer,
    RunConfig,
    Whitened,
    batches,
    claim,
    fit_in_phases,
    in_chunks,
    make_accelerator,
    make_optimizer,
    place,
    project,
    start_run,
)
from ssl_dml.training.choices import choices, lines_of, open_choices, words_of

KIND, USUAL = "pretrain", "default"


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """A pretraining run.

    Args:
        method: The training objective around the backbone, given what it is told of the run.
        nested: Dimensions of prefixes of the features that are trained to be used alone, rising
            to their own, such as [16, 32, 64, 128]; the loss is the sum over them.
        whiten: Dimensions of the features after whitening, a linear map of the trained features
            that is learned from training samples without labels, and saved as the last layer;
            null leaves them.
        whiten_by: Whether it is learned from ``samples``, or from pairs of ``views`` too, after
            which what changes from view to view counts little.
        evaluation: How the backbone is probed.
        adapt: What of the backbone moves when it goes on from trained weights.
        guard: When a run is said to be worse than its start.
    """

    method: Callable[[Backbone, RunInfo], Method]
    nested: Sequence[int] | None = None
    whiten: int | None = None
    whiten_by: Literal["samples", "views"] = "samples"
    evaluation: ProbeConfig = field(default_factory=ProbeConfig)
    adapt: AdaptSettings = field(default_factory=AdaptSettings)
    guard: GuardSettings = field(default_factory=GuardSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.adapt.check_start(self.init)
        at_least(1, whiten=self.whiten)
        if self.whiten is not None and self.nested is not None:
            raise ConfigError(
                "whiten mixes the dimensions that nested trains to be used alone; leave one out"
            )

    @property
    def guarded(self) -> Path | None:
        """The run folder if the run is compared with its start; None if not."""
        wanted = self.init is not None or self.guard.patience is not None
        return self.output_dir if wanted else None


Parsed = tuple[PretrainConfig, dict[str, Any]]
Choose = Callable[[Traits], Parsed]


def read_data(
    config: PretrainConfig, begin: Initial
) -> tuple[SampleSet, SampleSet | None, dict[str, Any]]:
    """The samples to train on, those to test on, and what was read, which is said aloud."""
    train = load_train(decoded_for(as_published(config.data, begin.preset), begin.inputs))
    test = load_test(config.data, train)
    announce(train, test)
    if test is not None:
        announce_leak(train.digests, test.digests)
    return train, test, describe(train, test, config.data.source)


def build(config: PretrainConfig, begin: Initial, train: SampleSet, plan: Plan) -> Method:
    """The method around the backbone that it starts from."""
    run_info = RunInfo(
        num_instances=len(train),
        batch_size=config.data.batch_size,
        num_batches=plan.steps * plan.accumulation,
        labeled=train.labels is not None,
    )
    start = config.backbone if config.init is None else begin.backbone
    backbone = config.adapt.apply(start(train.spec))
    method = config.method(in_chunks(backbone, config.train.encode_chunk), run_info)
    return method if config.nested is None else nested(method, config.nested)


def save_backbone(
    config: PretrainConfig,
    values: dict[str, Any],
    whiten: Whitened,
    data: dict[str, Any],
    name: str,
    step: int,
) -> Backbone:
    """Save the backbone in a folder of the run, which all processes do together; return it."""
    trained = {"method": component(values, "method")[0], "steps": step, "data": data}
    trained |= {"nested": config.nested, "whiten": config.whiten}
    network, class_path, init_args = whiten()
    if rank() == 0 or has_split_weights(network):
        save(network, config.output_dir / name, class_path, init_args, trained=trained)
    return network


class Probes(NamedTuple):
    """Probes of a run, which are recorded and judged.

    Attributes:
        accelerator: Has the trackers.
        guard: Compares them with that of the start.
        model: The backbone as it would be saved.
        measure: Probes it.
        first: Measures baselines, at step 0.
        keep: Saves the backbone in a folder of the run.
    """

    accelerator: Accelerator
    guard: Guard
    model: Whitened
    measure: Callable[..., dict[str, float]]
    first: Callable[[], dict[str, float]]
    keep: Callable[[str, int], Backbone]

    def at(self, step: int) -> bool:
        """Probe, keep the backbone if it is the best so far, and tell whether to stop."""
        found = self.measure(backbone=self.model().network, look=self.guard.look(step))
        others = self.first() if step == 0 else {}
        record_probe(self.accelerator, step, {**found, **others})
        better, stop = self.guard.judge(step, found)
        if better:
            self.keep("best", step)
        return stop


def pretrain(config: PretrainConfig, values: dict[str, Any], choose: Choose | None = None) -> None:
    """Train and probe, from the start or the newest checkpoint, to the last step; save.

    Args:
        config: The run.
        values: The same as plain values, for ``config.yaml``.
        choose: Gives both anew with what suits the samples; None leaves them.
    """
    # First, so that the processes of the run claim its folder together.
    accelerator = make_accelerator(config.train, seed=config.seed)
    with claim(config.output_dir, resume=config.resume):
        device = accelerator.device
        begin = initial(config.init, *component(values, "backbone"), trust=config.trust)
        train, test, data = read_data(config, begin)
        if choose is not None:
            config, values = choose(traits_of(train, accelerator=torch.accelerator.is_available()))
            begin = begin if config.init else initial(None, *component(values, "backbone"))
        split = open_probe(train, test, config.evaluation)
        order = epochs(train, config.data, seed=config.seed)
        plan = config.train.plan(order.per_epoch)

        augment = config.augment(train.spec).to(device)
        with Allocations(values):
            method = build(config, begin, train, plan)
        model = Pretrainer(synchronize_batch_norm(method))
        average = Average(method.backbone, config.train.ema)
        config.adapt.split(model, average.network)
        optimizer, scheduler = make_optimizer(method, config, plan, config.adapt.lr_scales(model))
        place(model, device, compiled=config.train.compile)
        average.network.to(device)
        optimizer = accelerator.prepare_optimizer(optimizer)
        guard = Guard(config.guard, config.evaluation, config.guarded, labeled=split is not None)
        parts = {"model": method, "optimizer": optimizer, "scheduler": scheduler}
        state = {**parts, **average.parts, **guard.parts}
        run = start_run(config, values, accelerator, plan=plan, state=state, data=data)

        settings = {"config": config.evaluation, "device": device}
        trained = Model(average.network, begin.class_path, begin.init_args)
        views = augment if config.whiten_by == "views" else None
        whiten = Whitened(config.whiten, trained, train, device, views=views)
        probe = partial(probe_method, method, train, split, augment)
        first = partial(baseline, split, **settings)
        keep = partial(save_backbone, config, values, whiten, data)
        probes = Probes(accelerator, guard, whiten, partial(probe, **settings), first, keep)

        loader = make_loader(
            train, order.skip(run.batches_done), workers=config.data.workers, device=device
        )
        inputs = batches(loader, augment, device, train.labels, train.aspects)
        if run.start == 0:
            accelerator.log({"data/damaged": len(train.damaged)}, step=0)
            probes.at(0)
            inputs = show_first(
                inputs, train, accelerator,
                batches=plan.steps * plan.accumulation, folder=config.output_dir,
            )  # fmt: skip
        frozen = round(config.adapt.warmup_epochs * plan.per_epoch)
        steps = fit_in_phases(model, optimizer, scheduler, inputs, frozen=frozen, **run.training)
        step = run.start
        for step in run.checkpointed(average.follow(steps), train.names):
            if plan.due(step, every_epochs=config.evaluation.every_epochs) and probes.at(step):
                break
        network = keep("backbone", step)
        sketch_run(
            network, train, torch.arange(len(train)), config.output_dir,
            source=config.data.source, of="training samples", device=device,
        )  # fmt: skip
        project(accelerator, network, train, step=step)
        finish(accelerator)
        say(summary(config.output_dir, config.init, gain_of(config.output_dir)))


def main(args: list[str] | None = None) -> Path:
    """Parse the command line, pretrain, and return the run folder."""
    args = list(sys.argv[1:] if args is None else args)
    config, values = parse_run(PretrainConfig, args, kind=KIND, default=USUAL)
    resumed = config.output_dir if config.resume else None
    given = beside_default(args, kind=KIND, default=USUAL, resumed=resumed)
    choose = None if given is None else partial(chosen, args, given)
    pretrain(config, values, choose)
    return config.output_dir


def chosen(args: list[str], given: dict[str, Any], traits: Traits) -> Parsed:
    """The default run with what suits the samples, where the command line does not say otherwise.

    Args:
        args: The command line.
        given: What it sets.
        traits: What was understood of the samples.
    """
    found = open_choices(choices(traits), given)
    for line in lines_of(traits, found) if found else ():
        say(line)
    args, either = [*words_of(found), *args], ("train.steps", "train.epochs")
    return parse(PretrainConfig, args, kind=KIND, default=USUAL, either=either)
