"""What pretraining and fine-tuning build alike: chunked encoders, optimizer and schedule."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ssl_dml.backbones import Backbone, Chunked
from ssl_dml.backbones.chunked import batch_norm_notice
from ssl_dml.distributed import has_split_weights, split_weights
from ssl_dml.progress import say
from ssl_dml.training.allocations import refuse_large
from ssl_dml.training.freezable import Freezable
from ssl_dml.training.loop import Plan
from ssl_dml.training.optimizers import parameter_groups, scale_learning_rate
from ssl_dml.training.run import RunConfig
from ssl_dml.training.schedules import warmup_cosine
from ssl_dml.types import ConfigError, one_line


def in_chunks(backbone: Backbone, size: int | None) -> Backbone:
    """The backbone with gradient caching if a chunk size is given; says when that is inexact."""
    if size is None:
        return backbone
    chunked = Chunked(backbone, size)
    if notice := batch_norm_notice(chunked):
        say(notice)
    return chunked


def place(model: Freezable, device: torch.device, *, compiled: bool) -> None:
    """Move a model to its device; its encoders are compiled when they first run, if wanted.

    An encoder in chunks is compiled for a chunk. The state keeps its names.
    """
    model.to(device)
    for encoder in model.encoders if compiled else ():
        (encoder.backbone if isinstance(encoder, Chunked) else encoder).compile()


def make_optimizer(
    model: nn.Module,
    config: RunConfig,
    plan: Plan,
    lr_scales: Mapping[nn.Parameter, float] | None = None,
) -> tuple[Optimizer, LRScheduler]:
    """Group the parameters, scale the learning rate, schedule it.

    Args:
        model: What is trained.
        config: The optimizer, the batch, and how the learning rate follows it.
        plan: Steps and warm-up.
        lr_scales: Learning-rate multiplier of a parameter, 1 where it is not given.
    """
    _check_optimizer(config, split=has_split_weights(model))
    refuse_large(model)
    optimizer = config.optimizer(parameter_groups(model, lr_scales))
    batch_size = config.data.batch_size * plan.accumulation
    scale_learning_rate(optimizer, batch_size, config.train.lr_scaling)
    return optimizer, warmup_cosine(optimizer, steps=plan.steps, warmup=plan.warmup)


def _check_optimizer(config: RunConfig, *, split: bool) -> None:
    """Raise before training if the optimizer cannot make a step as the loop makes them.

    Raises:
        ConfigError: Such as for LBFGS, which wants to compute the loss itself.
    """
    device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
    trial = nn.Linear(2, 2, device=device)
    if split:
        split_weights(trial, [])
    for parameter in trial.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = config.optimizer(parameter_groups(trial))
    try:
        optimizer.step()
    except Exception as error:
        raise ConfigError(
            f"optimizer: {type(optimizer).__name__} cannot make a step ({one_line(error)}); name "
            "another, such as torch.optim.SGD"
        ) from error
