"""The loop, its schedule and optimizer groups, and checkpoints."""

from ssl_dml.training.best import Best
from ssl_dml.training.checkpoint import Checkpoints
from ssl_dml.training.loop import TrainConfig, fit
from ssl_dml.training.optimizers import layerwise_lr_scales, parameter_groups, scale_learning_rate
from ssl_dml.training.schedules import warmup_cosine

__all__ = [
    "Best",
    "Checkpoints",
    "TrainConfig",
    "fit",
    "layerwise_lr_scales",
    "parameter_groups",
    "scale_learning_rate",
    "warmup_cosine",
]
