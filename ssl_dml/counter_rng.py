"""Random draws that depend on what they are for and not on who makes them."""

import torch
from jaxtyping import Int
from torch import Tensor

# Odd constants of SplitMix64 (Steele, Lea and Flood, 2014), as signed 64-bit integers.
GAMMA = 0x9E3779B97F4A7C15 - 2**64
MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
MIX_2 = 0x94D049BB133111EB - 2**64


def counter_based_indices(
    instances: Int[Tensor, " batch"], step: Int[Tensor, ""], *, count: int, high: int
) -> Int[Tensor, "batch keys"]:
    """Indices uniform in ``[0, high)``, with replacement, a function of their arguments alone.

    The draws for an instance at a step are the same on any number of processes and after any
    restart, so no generator has to be saved or kept in step.

    Args:
        instances: What the draws are for.
        step: When; other steps draw afresh.
        count: Draws for each instance.
        high: Upper end, exclusive.
    """
    seeds = _mix(_mix(instances + GAMMA) + step * GAMMA)
    counters = torch.arange(1, count + 1, device=instances.device) * GAMMA
    bits = _mix(seeds[:, None] + counters)
    return _shift(bits, 1) % high


def _shift(bits: Tensor, places: int) -> Tensor:
    """Right shift that fills with zeros; torch's own repeats the sign."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def _mix(bits: Tensor) -> Tensor:
    """SplitMix64's finalizer; multiplication wraps."""
    bits = (bits ^ _shift(bits, 30)) * MIX_1
    bits = (bits ^ _shift(bits, 27)) * MIX_2
    return bits ^ _shift(bits, 31)
