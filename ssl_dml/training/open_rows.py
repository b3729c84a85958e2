"""An optimizer and the tables of which it trains the open rows only."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from ssl_dml.distributed import sum_with_gradient
from ssl_dml.memory import RowTable
from ssl_dml.training.optimizers import gradients


def train_open_rows(model: nn.Module, optimizer: Optimizer) -> None:
    """Let each step of an optimizer see of every :class:`RowTable` its open rows alone.

    Args:
        model: Holds the tables, if there are any.
        optimizer: Of torch's form, not prepared by accelerate; it has the tables' windows among
            its parameters. What it keeps in the shape of a parameter is taken to be of its rows.

    Raises:
        ValueError: If the optimizer keeps something of the rows before its first step.
    """
    tables = _tables(model)
    if any(optimizer.state.get(table.window) for table in tables):
        name = type(optimizer).__name__
        raise ValueError(
            f"optimizer {name} keeps numbers of rows before they are opened; class weights need "
            "one that starts with none, such as SGD or AdamW"
        )

    def lend(*_: Any) -> None:  # noqa: ANN401 - what torch hands to a hook
        for table in tables:
            table.lend(optimizer.state[table.window])

    def take_back(*_: Any) -> None:  # noqa: ANN401
        for table in tables:
            table.take_back(optimizer.state[table.window])

    if tables:
        optimizer.register_step_pre_hook(lend)
        optimizer.register_step_post_hook(take_back)


def gradient_norm(model: nn.Module) -> Tensor:
    """Norm of the whole gradient, with the rows of split tables on every process."""
    split = [table.window for table in _tables(model) if table.sharded]
    own = {id(window) for window in split}
    device = next(model.parameters()).device
    common = _norm(gradients(p for p in model.parameters() if id(p) not in own), device)
    if not split:
        return common
    others = sum_with_gradient(_norm(gradients(split), device).square())
    return (common.square() + others).sqrt()


def _norm(found: list[Tensor], device: torch.device) -> Tensor:
    """Norm on the model's device, where torch's own is a zero on the CPU if there is none."""
    return get_total_norm(found) if found else torch.zeros((), device=device)


def _tables(model: nn.Module) -> list[RowTable]:
    return [module for module in model.modules() if isinstance(module, RowTable)]
