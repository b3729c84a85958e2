"""What leaked test samples are worth: a score with and without them."""

import torch
from jaxtyping import Bool
from torch import Tensor

from ssl_dml.evaluation.bootstrap import Gain, interval


def leak_effect(
    right: Bool[Tensor, " queries"],
    leaked: Bool[Tensor, " queries"],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Gain:
    """Accuracy on all test samples minus that on those that are not leaked, with its interval.

    The interval is the percentile bootstrap of the mean of each sample's influence on the
    difference, by which also the number of leaked samples varies.

    Args:
        right: Whether each test sample is classified rightly.
        leaked: Whether each is trained on as well.
        draws: Number of draws.
        seed: Of the draws.

    Raises:
        ValueError: If no test sample is without a leak.

    References:
        Efron and Tibshirani, 1993, An Introduction to the Bootstrap, sec. 13.3 and 22.

    >>> right = torch.tensor([True] * 50 + [True, False] * 100)
    >>> round(leak_effect(right, torch.arange(250) < 50).mean, 3)  # 0.6 with, 0.5 without
    0.1
    """
    if leaked.all():
        raise ValueError("every test sample is leaked, so there is no score without them")
    part = leaked.double().mean()
    rest = right.double() - right[~leaked].double().mean()
    influence = torch.where(leaked, rest, -rest * part / (1 - part))
    return Gain(*interval(influence, draws=draws, seed=seed))
