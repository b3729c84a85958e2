"""Counter-based random numbers: a function of their purpose, not of a generator's state."""

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
    """Sample indices uniformly from ``[0, high)``, with replacement, as a pure function.

    The samples of an instance at a step are the same on any number of processes and after any
    restart, so no generator has to be saved or synchronized.

    Args:
        instances: Samples are independent between instances.
        step: Samples are independent between steps.
        count: Samples for each instance.
        high: Upper bound, exclusive.

    Examples:
        >>> import torch
        >>> from ssl_dml.counter_rng import counter_based_indices
        >>> counter_based_indices(torch.tensor([0, 1]), torch.tensor(0), count=3, high=10)
        tensor([[8, 7, 3],
                [0, 5, 9]])
    """
    seeds = _mix(_mix(instances + GAMMA) + step * GAMMA)
    counters = torch.arange(1, count + 1, device=instances.device) * GAMMA
    bits = _mix(seeds[:, None] + counters)
    return _shift(bits, 1) % high


def _shift(bits: Tensor, places: int) -> Tensor:
    """Right shift that fills with zeros; torch's own operator repeats the sign bit."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def _mix(bits: Tensor) -> Tensor:
    """SplitMix64's finalizer; multiplication wraps."""
    bits = (bits ^ _shift(bits, 30)) * MIX_1
    bits = (bits ^ _shift(bits, 27)) * MIX_2
    return bits ^ _shift(bits, 31)
