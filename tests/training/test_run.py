"""A run saves when it is due, when it is asked to stop, and says what went wrong."""

import os
import signal
from functools import partial

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn

from ssl_dml.data import DataConfig
from ssl_dml.stops import Interrupted, NonFiniteError
from ssl_dml.training import Checkpoints, Plan, Run, RunConfig, TrainConfig
from ssl_dml.types import ConfigError


def run_config(folder, train, seed=0):
    return RunConfig(
        output_dir=folder,
        data=DataConfig(source="fashion_mini"),
        augment=nn.Identity,
        backbone=nn.Identity,
        optimizer=partial(torch.optim.SGD, lr=0.1),
        train=train,
        seed=seed,
    )


@pytest.fixture
def run(tmp_path):
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    return Run(
        config=run_config(tmp_path, TrainConfig(steps=7, save_every=3)),
        accelerator=Accelerator(cpu=True),
        plan=Plan(steps=7, warmup=0, per_epoch=2.0, accumulation=3),
        start=2,
        state={"model": nn.Linear(2, 2)},
        metadata={"seed": 0},
        checkpoints=Checkpoints(tmp_path / "checkpoints", keep=9),
    )


def saved(run):
    return sorted(path.name for path in run.checkpoints.folder.glob("step_*"))


def test_it_saves_when_due_and_at_the_end_after_the_caller_is_done(run):
    seen = [(step, saved(run)) for step in run.checkpointed(iter(range(3, 8)))]
    assert [step for step, _ in seen] == [3, 4, 5, 6, 7]
    assert seen[0][1] == []
    assert seen[1][1] == ["step_3"]
    assert saved(run) == ["step_3", "step_6", "step_7"]
    assert run.batches_done == 6
    assert run.training["start"] == 2


def test_a_signal_saves_and_says_how_to_continue(run):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=r"stopped at step 4 of 7 and saved; to continue") as left:
        for step in run.checkpointed(iter(range(3, 8))):
            if step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
    assert left.value.exit_code == 128 + signal.SIGTERM
    assert saved(run) == ["step_3", "step_4"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_loss_that_is_not_finite_names_the_last_good_checkpoint(run):
    def updates():
        yield 3
        raise NonFiniteError("step 4: loss nan", [1, 2])

    with pytest.raises(NonFiniteError, match=r"the last good checkpoint is .*step_3"):
        list(run.checkpointed(updates()))


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_cannot_be(tmp_path, seed):
    with pytest.raises(ConfigError, match=f"seed must be from 0 to 2147483647, got {seed}"):
        run_config(tmp_path, TrainConfig(steps=1), seed)
