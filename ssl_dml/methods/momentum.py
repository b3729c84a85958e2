"""Encoders that follow others slowly."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def follower(network: Network) -> Network:
    """A copy without gradients, to be moved by :func:`follow`."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def follow(followers: nn.Module, leaders: nn.Module, momentum: float | Tensor) -> None:
    """Move every parameter to ``momentum`` of itself and the rest of its leader's.

    Buffers, such as running statistics, are each network's own.

    Args:
        followers: What is moved.
        leaders: A network of the same form.
        momentum: Fraction of the old value that is kept, in [0, 1].
    """
    for ours, theirs in zip(followers.parameters(), leaders.parameters(), strict=True):
        ours.lerp_(theirs, torch.as_tensor(1 - momentum, dtype=ours.dtype, device=ours.device))


def check_momentum(momentum: float) -> None:
    """Refuse a fraction outside [0, 1]."""
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum must be from 0 to 1, got {momentum}")
