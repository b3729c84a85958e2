"""What an optimizer is given, and how its rate follows the batch."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

BASE_BATCH = 256


def parameter_groups(
    model: nn.Module, lr_scales: Mapping[nn.Parameter, float] | None = None
) -> list[dict[str, Any]]:
    """Trainable parameters in groups: matrices, and vectors without weight decay, by rate.

    Biases and the weights of norms are vectors. timm's LARS adapts only what it decays, so they
    are left out of its adaptation too, as in SimCLR (Chen et al., 2020, arXiv:2002.05709).

    Args:
        model: Whose parameters they are.
        lr_scales: Factor on the learning rate of a parameter, 1 where it is not given; see
            :func:`scale_learning_rate`.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            lr_scale = (lr_scales or {}).get(parameter, 1.0)
            groups.setdefault((lr_scale, parameter.ndim > 1), []).append(parameter)
    plain = {True: {}, False: {"weight_decay": 0.0}}
    return [
        {"params": groups[lr_scale, matrices], "lr_scale": lr_scale, **plain[matrices]}
        for lr_scale, matrices in sorted(groups, key=lambda key: (-key[0], not key[1]))
    ]


def layerwise_lr_scales(
    layers: Sequence[Sequence[nn.Parameter]], *, rate: float, decay: float
) -> dict[nn.Parameter, float]:
    """A factor for each parameter that falls from the last layer to the first.

    Args:
        layers: Parameters from the first layer to the last.
        rate: Factor of the last layer.
        decay: Factor from a layer to the one before it, above 0 and at most 1.

    References:
        Howard and Ruder, 2018, arXiv:1801.06146, sec. 3.2 ("discriminative fine-tuning").
    """
    last = len(layers) - 1
    return {p: rate * decay ** (last - depth) for depth, ps in enumerate(layers) for p in ps}


def scale_learning_rate(
    optimizer: Optimizer, batch: int, rule: Literal["none", "linear", "sqrt"]
) -> None:
    """Multiply the rate of every group by ``batch / 256``, its square root, or 1; and by its own.

    References:
        Goyal et al., 2017, arXiv:1706.02677; square root: Chen et al., 2020, arXiv:2002.05709.
    """
    ratio = batch / BASE_BATCH
    factor = {"none": 1.0, "linear": ratio, "sqrt": ratio**0.5}[rule]
    for group in optimizer.param_groups:
        group["lr"] *= factor * group.get("lr_scale", 1.0)


def fuse(optimizer: Optimizer, device: torch.device, *, wanted: bool) -> None:
    """Let an optimizer update all parameters in one kernel where torch has it for its class.

    What the configuration says of ``fused`` or ``foreach`` stays. Processors keep the plain loop,
    also where a checkpoint of an accelerator is resumed.

    >>> optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    >>> fuse(optimizer, torch.device("cuda"), wanted=True)
    >>> optimizer.param_groups[0]["fused"]
    True

    Args:
        optimizer: Whose parameters are on the device, or will be.
        device: Where it takes steps.
        wanted: Whether it may.
    """
    given = optimizer.defaults
    if "fused" not in given or given["fused"] is not None or given.get("foreach") is not None:
        return
    there = device.type != "cpu" and device.type in _get_fused_kernels_supported_devices()
    for group in optimizer.param_groups:
        whole = all(parameter.is_floating_point() for parameter in group["params"])
        group["fused"] = (wanted and there and whole) or None
