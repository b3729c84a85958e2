"""What an optimizer is given, and how its rate follows the batch."""

from collections.abc import Iterable
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer

BASE_BATCH = 256


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices, and vectors without weight decay.

    Biases and the weights of norms are vectors. timm's LARS adapts only what it decays, so they
    are left out of its adaptation too, as in SimCLR (Chen et al., 2020, arXiv:2002.05709).
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1]},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def scale_learning_rate(
    optimizer: Optimizer, batch: int, rule: Literal["none", "linear", "sqrt"]
) -> None:
    """Multiply the rate of every group by ``batch / 256``, its square root, or 1.

    References:
        Goyal et al., 2017, arXiv:1706.02677; square root: Chen et al., 2020, arXiv:2002.05709.
    """
    ratio = batch / BASE_BATCH
    factor = {"none": 1.0, "linear": ratio, "sqrt": ratio**0.5}[rule]
    for group in optimizer.param_groups:
        group["lr"] *= factor


def gradients(parameters: Iterable[nn.Parameter]) -> list[Any]:
    """Gradients of the parameters that have one."""
    return [p.grad for p in parameters if p.grad is not None]
