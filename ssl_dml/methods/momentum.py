"""Momentum encoders, whose weights are an exponential average of another network's."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from ssl_dml.distributed import own_part

Network = TypeVar("Network", bound=nn.Module)


def follower(network: Network) -> Network:
    """A copy without gradients, which :func:`follow` moves."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def follow(followers: nn.Module, leaders: nn.Module, momentum: float | Tensor) -> None:
    """Set each parameter to ``momentum`` times itself plus the rest times its leader's.

    Each network keeps its own buffers, such as running statistics. Of weights that are split over
    processes each moves its part.

    Args:
        followers: The network to move.
        leaders: The network to follow, of the same architecture.
        momentum: Fraction of the old value to keep, in [0, 1].

    >>> leader = nn.Linear(1, 1)
    >>> slow = follower(leader)
    >>> _ = slow.weight.fill_(0.0), leader.weight.data.fill_(1.0)
    >>> follow(slow, leader, momentum=0.9)
    >>> slow.weight
    Parameter containing:
    tensor([[0.1000]])
    """
    pairs = list(zip(followers.parameters(), leaders.parameters(), strict=True))
    if not pairs:
        return
    ours: list[Tensor] = [own_part(own) for own, _ in pairs]
    theirs: list[Tensor] = [own_part(leader) for _, leader in pairs]
    rest = 1 - momentum  # in a few kernels for all of them
    if isinstance(rest, Tensor):
        torch._foreach_lerp_(ours, theirs, [rest.to(own.dtype) for own in ours])
    else:
        torch._foreach_lerp_(ours, theirs, rest)
