"""Hard-negative contrastive learning, debiased for false negatives."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.losses.base import Loss
from ssl_dml.losses.nt_xent import log_sum_of_negatives, positive_cosines, unit_views
from ssl_dml.losses.tiles import TileSize
from ssl_dml.precision import full_precision
from ssl_dml.types import SINGLE_PROCESS, ProcessGroup


@full_precision
def hcl(
    views: Float[Tensor, "views batch dim"],
    *,
    temperature: float = 0.5,
    beta: float = 1.0,
    tau_plus: float = 0.1,
    tile_size: TileSize = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, ""]:
    r"""NT-Xent with more weight on hard negatives and a correction for false ones.

    With :math:`p = e^{s^+ / \tau}`, the N negatives :math:`n_j = e^{s_j / \tau}` and weights
    :math:`w_j = n_j^\beta / \mathrm{mean}\, n^\beta`:

    .. math:: -\log \frac{p}{p + g}, \quad g = \max\Big( \frac{\sum_j w_j n_j - \tau^+ N p}
        {1 - \tau^+}, \; N e^{-1 / \tau} \Big)

    ``beta = 0`` is the debiased contrastive loss, and with ``tau_plus = 0`` also NT-Xent.

    Args:
        views: ``views[v][i]`` shows sample ``i``; rows are normalized here. Of more than two
            views, a positive similarity is the mean over the others.
        temperature: Softmax temperature, above 0.
        beta: Concentration on hard negatives, at least 0.
        tau_plus: Probability that a negative is of the same class, in [0, 1).
        tile_size: Side of the tiles of the similarity matrix; ``auto`` suits the device, None
            computes it at once.
        group: The processes that share the batch.

    Returns:
        Mean over this process's views, in nats.

    Raises:
        ValueError: If an argument is outside its range, or there is one sample only.

    Examples:
        Equal views cost ``log(1 + N)``:

        >>> import torch
        >>> from ssl_dml.losses import hcl
        >>> hcl(torch.ones(2, 4, 3))
        tensor(1.9459)

    References:
        Robinson et al., 2021, arXiv:2010.04592, sec. 3; Chuang et al., 2020, arXiv:2007.00224,
        eq. 8.
    """
    checks.positive(temperature=temperature)
    checks.at_least(0, beta=beta)
    checks.below(1, tau_plus=tau_plus)
    batch = views.shape[1] * group.count
    checks.at_least(2, batch=batch)
    views = unit_views(views)
    log_n = math.log(len(views) * (batch - 1))

    def log_sum(power: float) -> Tensor:
        return log_sum_of_negatives(views, power / temperature, tile_size, group)

    positive = positive_cosines(views).flatten() / temperature
    # sum of w n = N sum n^(1 + beta) / sum n^beta
    hard = log_sum(1 + beta) - log_sum(beta) + log_n if beta else log_sum(1.0)
    # All terms are relative to the largest: nothing overflows, and no ratio is 0 / 0.
    top = torch.maximum(positive, hard).detach()
    own, weighted = (positive - top).exp(), (hard - top).exp()
    least = (log_n - 1 / temperature - top).exp()
    debiased = (weighted - tau_plus * math.exp(log_n) * own) / (1 - tau_plus)
    return ((own + torch.maximum(debiased, least)).log() + top - positive).mean()


@final
class HCL(Loss, function=hcl):
    """Module form of :func:`hcl`.

    Args:
        temperature: Above 0.
        beta: At least 0.
        tau_plus: From 0 to below 1.
        tile_size: At least 1, or ``auto``; None computes all similarities at once.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import HCL
        >>> HCL(beta=0.5)(torch.ones(2, 4, 3))
        tensor(1.9459)
    """
