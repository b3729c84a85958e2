"""Runs: the loop, its schedule and optimizer groups, checkpoints, and the run folder."""

from ssl_dml.training.accelerator import make_accelerator
from ssl_dml.training.adapt import AdaptSettings
from ssl_dml.training.allocations import Allocations
from ssl_dml.training.average import Average
from ssl_dml.training.best import Best
from ssl_dml.training.checkpoint import Checkpoints
from ssl_dml.training.finetuner import Finetuner
from ssl_dml.training.finetuning import FinetuneSettings, fit_in_phases
from ssl_dml.training.guard import Guard, GuardSettings
from ssl_dml.training.inputs import batches
from ssl_dml.training.loop import Plan, TrainConfig, fit
from ssl_dml.training.optimizers import layerwise_lr_scales, parameter_groups, scale_learning_rate
from ssl_dml.training.ordered import order_run
from ssl_dml.training.pretrainer import Pretrainer
from ssl_dml.training.projecting import project
from ssl_dml.training.run import Run, RunConfig, start_run
from ssl_dml.training.run_folder import claim
from ssl_dml.training.schedules import warmup_cosine
from ssl_dml.training.setup import in_chunks, make_optimizer, place
from ssl_dml.training.splitting import split_encoders
from ssl_dml.training.whitened import Model, Whitened

__all__ = [
    "AdaptSettings",
    "Allocations",
    "Average",
    "Best",
    "Checkpoints",
    "FinetuneSettings",
    "Finetuner",
    "Guard",
    "GuardSettings",
    "Model",
    "Plan",
    "Pretrainer",
    "Run",
    "RunConfig",
    "TrainConfig",
    "Whitened",
    "batches",
    "claim",
    "fit",
    "fit_in_phases",
    "in_chunks",
    "layerwise_lr_scales",
    "make_accelerator",
    "make_optimizer",
    "order_run",
    "parameter_groups",
    "place",
    "project",
    "scale_learning_rate",
    "split_encoders",
    "start_run",
    "warmup_cosine",
]
