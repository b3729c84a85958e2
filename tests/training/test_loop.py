import itertools

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn
from torch.testing import assert_close

from ssl_dml.config import ConfigError
from ssl_dml.stops import NonFiniteError
from ssl_dml.training import TrainConfig, fit, warmup_cosine
from ssl_dml.types import Batch, StepOutput


class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, batch):
        x, y = batch.views
        return StepOutput((self.layer(x)[:, 0] - y).square().mean(), {"mean": y.mean()})


@pytest.fixture
def accelerator():
    def make(**options):
        for state in (AcceleratorState, GradientState, PartialState):
            state._reset_state()
        return Accelerator(cpu=True, **options)

    return make


def batches(size=4, bad=None):
    generator = torch.Generator().manual_seed(0)
    for number in itertools.count():
        x = torch.randn(size, 3, generator=generator)
        if number == bad:
            x[1] = torch.inf
        yield Batch((x, x.sum(1)), torch.arange(size) + number * size)


def train(accelerator, config, *, steps, start=0, inputs=None, model=None, lr=0.1):
    model = model or Regression()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    scheduler = warmup_cosine(optimizer, steps=max(steps, 1), warmup=0)
    prepared, prepared_optimizer = accelerator.prepare(model, optimizer)
    seen = list(
        fit(
            prepared,
            prepared_optimizer,
            scheduler,
            inputs or batches(),
            start=start,
            steps=steps,
            config=config,
            accelerator=accelerator,
        )
    )
    return model, seen, optimizer


def by_hand(model, steps, *, size=4, accumulation=1, clip=None):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = warmup_cosine(optimizer, steps=steps, warmup=0)
    source = batches(size)
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(accumulation):
            (model(next(source)).loss / accumulation).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        scheduler.step()
    return model


@pytest.mark.parametrize(("accumulation", "clip"), [(1, None), (3, None), (2, 0.5)])
def test_is_plain_gradient_descent(accelerator, accumulation, clip):
    model, other = Regression(), Regression()
    other.load_state_dict(model.state_dict())
    config = TrainConfig(steps=5, accumulation=accumulation, clip_norm=clip)
    made = accelerator(gradient_accumulation_steps=accumulation)
    _, seen, optimizer = train(made, config, steps=5, model=model)
    by_hand(other, 5, accumulation=accumulation, clip=clip)
    assert seen == [1, 2, 3, 4, 5]
    assert optimizer.param_groups[0]["lr"] == 0.0
    assert_close(model.state_dict(), other.state_dict())


def test_logs_means_rate_and_speed(accelerator):
    made, rows = accelerator(), []
    made.log = lambda values, step: rows.append((step, values))
    train(made, TrainConfig(steps=5, log_every=2), steps=5)
    assert [step for step, _ in rows] == [2, 4, 5]
    names = {"train/loss", "train/mean", "train/grad_norm", "train/lr", "train/samples_per_s"}
    assert all(set(values) == names for _, values in rows)
    assert rows[-1][1]["train/lr"] == 0.0


def test_nothing_is_left_to_do_at_the_last_step(accelerator):
    assert train(accelerator(), TrainConfig(steps=3), steps=3, start=3)[1] == []


def test_a_number_that_is_not_finite_stops_with_step_and_samples(accelerator):
    with pytest.raises(NonFiniteError, match=r"step 3: .* on samples 8, 9, 10, 11$"):
        train(accelerator(), TrainConfig(steps=5), steps=5, inputs=batches(bad=2))


def test_a_gradient_that_is_not_finite_stops_too(accelerator):
    class Root(Regression):
        def forward(self, batch):
            loss, logs = super().forward(batch)
            return StepOutput(loss + (self.layer.weight * 0).sum().sqrt(), logs)

    with pytest.raises(NonFiniteError, match=r"step 1: loss .* gradient norm nan"):
        train(accelerator(), TrainConfig(steps=5), steps=5, model=Root())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, r"either train\.steps or train\.epochs"),
        ({"steps": 1, "epochs": 1.0}, r"either train\.steps or train\.epochs"),
        ({"steps": 0}, r"train\.steps must be positive, got 0"),
        ({"epochs": -1.0}, r"train\.epochs must be positive, got -1\.0"),
        (
            {"steps": 1, "warmup_epochs": -1.0},
            r"train\.warmup_epochs must be at least 0, got -1\.0",
        ),
        ({"steps": 1, "clip_norm": 0.0}, r"train\.clip_norm must be positive, got 0\.0"),
    ],
)
def test_refuses_settings_that_cannot_be(arguments, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig(**arguments)


def test_epochs_become_steps():
    config = TrainConfig(epochs=2.5, warmup_epochs=0.5, accumulation=2)
    plan = config.plan(40)
    assert (plan.steps, plan.warmup, plan.per_epoch) == (50, 10, 20.0)
