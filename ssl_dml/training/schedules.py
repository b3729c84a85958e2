"""How the learning rate moves over a run."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(optimizer: Optimizer, *, steps: int, warmup: int) -> LambdaLR:
    """Linear from near zero over ``warmup`` steps, then half a cosine down.

    Step it once an update, on any number of processes; it must not be prepared by accelerate,
    which would step it once a process. After ``steps`` updates the rate is exactly 0.

    Args:
        optimizer: Its groups' rates are the peak.
        steps: Updates in the run.
        warmup: Updates until the peak, fewer than ``steps``.

    References:
        Loshchilov and Hutter, 2017, arXiv:1608.03983; Goyal et al., 2017, arXiv:1706.02677.
    """
    if not 0 <= warmup < steps:
        raise ValueError(
            f"train.warmup_epochs must be shorter than the run: {warmup} of {steps} steps"
        )

    def factor(step: int) -> float:
        """Of the peak, after so many updates."""
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

    return LambdaLR(optimizer, factor)
