"""Decoupled contrastive learning: NT-Xent without the positive in the denominator."""

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
def dcl(
    views: Float[Tensor, "views batch dim"],
    *,
    temperature: float = 0.1,
    weight_sigma: float | None = None,
    tile_size: TileSize = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, ""]:
    r"""NT-Xent with negatives alone in the denominator, so easy positives do not mute them.

    .. math:: \frac1n \sum_i \Big( -w_i \, s_i^+ / \tau
        + \log \sum_{j \in \mathrm{other\ samples}} e^{s_{ij} / \tau} \Big)

    ``weight_sigma`` makes it DCLW: :math:`w_i = 2 - e^{s_i^+ / \sigma} / \mathrm{mean}_j\,
    e^{s_j^+ / \sigma}` over the whole batch, with gradient as in the authors' code. Without it
    :math:`w_i = 1`.

    Args:
        views: ``views[v][i]`` shows sample ``i``; rows are normalized here. Of more than two
            views, a positive similarity is the mean over the others.
        temperature: Softmax temperature, above 0.
        weight_sigma: Width of the weights of DCLW, above 0; the paper takes 0.5. None for DCL.
        tile_size: Side of the tiles of the similarity matrix; ``auto`` suits the device, None
            computes it at once.
        group: The processes that share the batch.

    Returns:
        Mean over this process's views, in nats. It may be negative, down to
        ``log(negatives) - 2 / temperature``.

    Raises:
        ValueError: If a temperature is not positive, there is one view, or one sample only.

    Examples:
        Equal views cost the logarithm of the number of negatives:

        >>> import torch
        >>> from ssl_dml.losses import dcl
        >>> dcl(torch.ones(2, 4, 3))
        tensor(1.7918)

    References:
        Yeh et al., 2022, arXiv:2110.06848, eq. 5 and 6.
    """
    terms = decoupled_terms(views, temperature=temperature, tile_size=tile_size, group=group)
    return weighted_dcl(terms, temperature=temperature, weight_sigma=weight_sigma, group=group)


@full_precision
def decoupled_terms(
    views: Float[Tensor, "views batch dim"],
    *,
    temperature: float,
    tile_size: TileSize = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, "2 rows"]:
    """Of each view the log-sum over its negatives, and the cosine to its positive.

    >>> decoupled_terms(torch.ones(2, 4, 3), temperature=0.5)[:, 0]  # log(6) + 1 / 0.5, and 1
    tensor([3.7918, 1.0000])
    """
    checks.positive(temperature=temperature)
    checks.at_least(2, batch=views.shape[1] * group.count)
    views = unit_views(views)
    negatives = log_sum_of_negatives(views, 1 / temperature, tile_size, group)
    return torch.stack([negatives, positive_cosines(views).flatten()])


@full_precision
def weighted_dcl(
    terms: Float[Tensor, "2 rows"],
    *,
    temperature: float,
    weight_sigma: float | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, ""]:
    """:func:`dcl` from what :func:`decoupled_terms` gives."""
    checks.positive(temperature=temperature, weight_sigma=weight_sigma)
    negatives, positive = terms
    weights = torch.ones_like(positive)
    if weight_sigma is not None:
        # A shift leaves the ratio as it is and keeps it from 0 / 0.
        largest = group.gather(positive.max()[None]).max()
        fraction = ((positive - largest) / weight_sigma).exp()
        weights = 2 - fraction / (group.all_reduce_sum(fraction.mean()) / group.count)
    return (negatives - weights * positive / temperature).mean()


@final
class DCL(Loss, function=dcl):
    """Module form of :func:`dcl`.

    Args:
        temperature: Above 0.
        weight_sigma: Above 0; None for weights of 1.
        tile_size: At least 1, or ``auto``; None computes all similarities at once.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import DCL
        >>> DCL(temperature=0.5)(torch.ones(2, 4, 3))
        tensor(1.7918)
    """
