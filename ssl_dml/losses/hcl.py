"""Negatives that are weighted by how hard they are, and freed of false ones."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.losses.info_nce import (
    check_temperature,
    places_of_samples,
    positive_cosines,
    unit_views,
)
from ssl_dml.losses.tiles import log_sum_exp
from ssl_dml.precision import full_precision
from ssl_dml.types import SINGLE_PROCESS, ProcessGroup


@full_precision
def hcl(
    views: Float[Tensor, "views batch dim"],
    *,
    temperature: float = 0.5,
    beta: float = 1.0,
    tau_plus: float = 0.1,
    tile_size: int | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, ""]:
    r"""NT-Xent with negatives reweighted towards the hard ones and corrected for false ones.

    With :math:`p = e^{s^+ / \tau}`, the N negatives :math:`n_j = e^{s_j / \tau}` and weights
    :math:`w_j = n_j^\beta / \mathrm{mean}\, n^\beta`:

    .. math:: -\log \frac{p}{p + g}, \quad g = \max\Big( \frac{\sum_j w_j n_j - \tau^+ N p}
        {1 - \tau^+}, \; N e^{-1 / \tau} \Big)

    ``beta = 0`` is the debiased contrastive loss, and with ``tau_plus = 0`` also NT-Xent.

    Args:
        views: ``views[v][i]`` shows sample ``i``; rows are L2-normalized here. Over more than two
            views a positive similarity is the mean over the others.
        temperature: Softmax temperature, dimensionless, above 0.
        beta: Concentration on hard negatives, at least 0.
        tau_plus: Probability that a negative is of the same class, in [0, 1).
        tile_size: Side of the tiles that the similarities are made in; None makes all at once.
        group: The processes that share the batch.

    Returns:
        Mean over this process's views, in nats; ``log(1 + N)`` when all are equally similar.

    Raises:
        ValueError: If an argument is outside its range, or there is one sample only.

    References:
        Robinson et al., 2021, arXiv:2010.04592, sec. 3; Chuang et al., 2020, arXiv:2007.00224,
        eq. 8.
    """
    check_temperature(temperature)
    if beta < 0:
        raise ValueError(f"beta must be at least 0, got {beta}")
    if not 0 <= tau_plus < 1:
        raise ValueError(f"tau_plus must be from 0 to below 1, got {tau_plus}")
    batch = views.shape[1] * group.count
    if batch == 1:
        raise ValueError("a batch of 1 has no negatives: the batch must be at least 2")
    views = unit_views(views)
    rows, excluded = views.flatten(0, 1), places_of_samples(views, group)
    log_n = math.log(len(views) * (batch - 1))

    def log_sum(power: float) -> Tensor:
        scale = power / temperature
        return log_sum_exp(
            rows, rows, scale=scale, excluded=excluded, tile_size=tile_size, group=group
        )

    positive = positive_cosines(views).flatten() / temperature
    # sum of w n = N sum n^(1 + beta) / sum n^beta
    hard = log_sum(1 + beta) - log_sum(beta) + log_n if beta else log_sum(1.0)
    # All in units of the largest term, so that nothing overflows and the ratio is never 0 / 0.
    top = torch.maximum(positive, hard).detach()
    own, others = (positive - top).exp(), (hard - top).exp()
    least = (log_n - 1 / temperature - top).exp()
    freed = (others - tau_plus * math.exp(log_n) * own) / (1 - tau_plus)
    negatives = torch.maximum(freed, least)
    return ((own + negatives).log() + top - positive).mean()
