"""NT-Xent, the loss of SimCLR: classify the other view of each sample among all views."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.losses.base import Loss
from ssl_dml.losses.tiles import TileSize, log_sum_exp
from ssl_dml.precision import full_precision, unit_rows
from ssl_dml.types import SINGLE_PROCESS, ProcessGroup


@full_precision
def nt_xent(
    first: Float[Tensor, "batch dim"],
    second: Float[Tensor, "batch dim"],
    *,
    temperature: float = 0.1,
    tile_size: TileSize = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of each view's partner among the ``2 batch - 1`` other views.

    Args:
        first: One view of each sample; rows are normalized here.
        second: Another view, in the same order.
        temperature: Softmax temperature, above 0.
        tile_size: Side of the tiles of the similarity matrix; ``auto`` suits the device, None
            computes it at once.

    Returns:
        Mean over all views, in nats; 0 for a batch of one sample, which has no negatives.

    Raises:
        ValueError: If ``temperature`` is not positive.

    Examples:
        Equal views cost ``log(2 batch - 1)``:

        >>> import torch
        >>> from ssl_dml.losses import nt_xent
        >>> nt_xent(torch.ones(4, 3), torch.ones(4, 3))
        tensor(1.9459)

    References:
        Chen et al., 2020, arXiv:2002.05709, eq. 1.
    """
    views = torch.stack([first, second])
    return multi_view_nt_xent(views, temperature=temperature, tile_size=tile_size)


@full_precision
def multi_view_nt_xent(
    views: Float[Tensor, "views batch dim"],
    *,
    temperature: float = 0.1,
    tile_size: TileSize = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, ""]:
    """NT-Xent of two or more views: the log-probabilities of a view's positives are averaged.

    Args:
        views: ``views[v][i]`` shows sample ``i``; rows are normalized here.
        temperature: Softmax temperature, above 0.
        tile_size: Side of the tiles of the similarity matrix; ``auto`` suits the device, None
            computes it at once.
        group: The processes that share the batch.

    Returns:
        Mean over this process's views, in nats.

    Raises:
        ValueError: If ``temperature`` is not positive, or there is one view only.

    Examples:
        Equal views cost ``log(views * batch - 1)``:

        >>> import torch
        >>> from ssl_dml.losses import multi_view_nt_xent
        >>> multi_view_nt_xent(torch.ones(3, 4, 5))
        tensor(2.3979)

    References:
        Chen et al., 2020, arXiv:2002.05709, eq. 1; over several positives Khosla et al., 2020,
        arXiv:2004.11362, eq. 2.
    """
    checks.positive(temperature=temperature)
    views = unit_views(views)
    total = log_sum_of_others(views.flatten(0, 1), temperature, tile_size, group)
    return (total - positive_cosines(views).flatten() / temperature).mean()


@final
class NTXent(Loss, function=nt_xent):
    """Module form of :func:`nt_xent`.

    Args:
        temperature: Above 0.
        tile_size: At least 1, or ``auto``; None computes all similarities at once.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import NTXent
        >>> NTXent(temperature=0.5)(torch.ones(4, 3), torch.ones(4, 3))
        tensor(1.9459)
    """


@final
class MultiViewNTXent(Loss, function=multi_view_nt_xent):
    """Module form of :func:`multi_view_nt_xent`.

    Args:
        temperature: Above 0.
        tile_size: At least 1, or ``auto``; None computes all similarities at once.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import MultiViewNTXent
        >>> MultiViewNTXent(temperature=0.5)(torch.ones(3, 4, 5))
        tensor(2.3979)
    """


def log_sum_of_others(
    rows: Float[Tensor, "rows dim"], temperature: float, tile_size: TileSize, group: ProcessGroup
) -> Float[Tensor, " rows"]:
    """:func:`log_sum_exp` of each row's similarities to all other rows of all processes."""
    itself = torch.arange(len(rows))[:, None] + group.rank * len(rows)
    scale = 1 / temperature
    return log_sum_exp(rows, rows, scale=scale, excluded=itself, tile_size=tile_size, group=group)


def unit_views(views: Float[Tensor, "views batch dim"]) -> Float[Tensor, "views batch dim"]:
    """Scale the rows of at least two views to length 1."""
    checks.at_least(2, views=len(views))
    return unit_rows(views.flatten(0, 1)).view_as(views)


def positive_cosines(views: Float[Tensor, "views batch dim"]) -> Float[Tensor, "views batch"]:
    """Mean similarity of each view to the other views of its sample."""
    others = views.sum(dim=0) - views
    return (others * views).sum(dim=2) / (len(views) - 1)


def log_sum_of_negatives(
    views: Float[Tensor, "views batch dim"],
    scale: float,
    tile_size: TileSize,
    group: ProcessGroup,
) -> Float[Tensor, " rows"]:
    """:func:`log_sum_exp` of each view's similarities to all views of other samples."""
    count, batch = views.shape[:2]
    rows = views.flatten(0, 1)
    indices = torch.arange(len(rows)) + group.rank * len(rows)
    own = indices.view(count, batch).T.repeat(count, 1)  # all views of the sample of each row
    return log_sum_exp(rows, rows, scale=scale, excluded=own, tile_size=tile_size, group=group)
