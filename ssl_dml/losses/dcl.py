"""Decoupled contrastive learning: the positive leaves the denominator."""

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
def dcl(
    views: Float[Tensor, "views batch dim"],
    *,
    temperature: float = 0.1,
    weight_sigma: float | None = None,
    tile_size: int | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, ""]:
    r"""NT-Xent whose denominator holds negatives only, so that easy positives do not mute them.

    .. math:: \frac1n \sum_i \Big( -w_i \, s_i^+ / \tau
        + \log \sum_{j \in \mathrm{other\ samples}} e^{s_{ij} / \tau} \Big)

    With ``weight_sigma`` it is DCLW: :math:`w_i = 2 - e^{s_i^+ / \sigma} / \mathrm{mean}_j\,
    e^{s_j^+ / \sigma}` over the whole batch, through which gradient flows as in the authors'
    code; otherwise :math:`w_i = 1`.

    Args:
        views: ``views[v][i]`` shows sample ``i``; rows are L2-normalized here. Over more than two
            views a positive similarity is the mean over the others.
        temperature: Softmax temperature, dimensionless, above 0.
        weight_sigma: Width of the weights of DCLW, 0.5 in the paper; None leaves them out.
        tile_size: Side of the tiles that the similarities are made in; None makes all at once.
        group: The processes that share the batch.

    Returns:
        Mean over this process's views, in nats; ``log(negatives)`` when all are equally similar.
        It may be negative, down to ``log(negatives) - 2 / temperature``.

    Raises:
        ValueError: If a temperature is not positive, there is one view, or one sample only.

    References:
        Yeh et al., 2022, arXiv:2110.06848, eq. 5 and 6.
    """
    check_temperature(temperature)
    if weight_sigma is not None and weight_sigma <= 0:
        raise ValueError(f"weight_sigma must be positive or null, got {weight_sigma}")
    if views.shape[1] * group.count == 1:
        raise ValueError("a batch of 1 has no negatives: the batch must be at least 2")
    views = unit_views(views)
    rows = views.flatten(0, 1)
    negatives = log_sum_exp(
        rows,
        rows,
        scale=1 / temperature,
        excluded=places_of_samples(views, group),
        tile_size=tile_size,
        group=group,
    )
    positive = positive_cosines(views).flatten()
    weights = torch.ones_like(positive)
    if weight_sigma is not None:
        # A shift leaves the ratio as it is and keeps it from 0 / 0.
        largest = group.gather(positive.max()[None]).max()
        fraction = ((positive - largest) / weight_sigma).exp()
        weights = 2 - fraction / (group.all_reduce_sum(fraction.mean()) / group.count)
    return (negatives - weights * positive / temperature).mean()
