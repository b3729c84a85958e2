"""Which of many keys belongs to a query, as a classification."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.losses.tiles import log_sum_exp
from ssl_dml.precision import full_precision, unit_rows
from ssl_dml.types import SINGLE_PROCESS, ProcessGroup


@full_precision
def info_nce(
    query: Float[Tensor, "batch dim"],
    positive: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "keys dim"],
    *,
    temperature: float = 0.07,
    tile_size: int | None = None,
) -> Float[Tensor, ""]:
    r"""Cross-entropy of each query's positive against negatives that all queries share.

    .. math:: -\frac1B \sum_i \log \frac{e^{q_i \cdot k_i / \tau}}
        {e^{q_i \cdot k_i / \tau} + \sum_j e^{q_i \cdot n_j / \tau}}

    Rows are L2-normalized here.

    Args:
        query: Rows that are classified.
        positive: ``positive[i]`` is the key of ``query[i]``.
        negatives: Keys of others, such as a queue; may have no rows.
        temperature: Softmax temperature, dimensionless, above 0.
        tile_size: Side of the tiles that the similarities are made in; None makes all at once.

    Returns:
        Mean over queries, in nats; ``log(1 + keys)`` when all keys are equally similar, and 0
        without negatives.

    Raises:
        ValueError: If ``temperature`` is not positive.

    References:
        van den Oord et al., 2018, arXiv:1807.03748, eq. 4; He et al., 2020, arXiv:1911.05722,
        eq. 1.
    """
    check_temperature(temperature)
    query, positive, negatives = (unit_rows(rows) for rows in (query, positive, negatives))
    own = (query * positive).sum(dim=1) / temperature
    others = log_sum_exp(query, negatives, scale=1 / temperature, tile_size=tile_size)
    return (torch.logaddexp(own, others) - own).mean()


@full_precision
def in_batch_info_nce(
    query: Float[Tensor, "batch dim"],
    keys: Float[Tensor, "batch dim"],
    *,
    temperature: float = 0.1,
    tile_size: int | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, ""]:
    """Cross-entropy of each query's own key among the keys of the whole batch.

    Rows are L2-normalized here.

    Args:
        query: Rows that are classified.
        keys: ``keys[i]`` belongs to ``query[i]``; all others, on every process, do not.
        temperature: Softmax temperature, dimensionless, above 0.
        tile_size: Side of the tiles that the similarities are made in; None makes all at once.
        group: The processes that share the batch.

    Returns:
        Mean over this process's queries, in nats; the logarithm of the batch when all keys are
        equally similar.

    Raises:
        ValueError: If ``temperature`` is not positive.

    References:
        Chen et al., 2021, arXiv:2104.02057, algorithm 1; Dwibedi et al., 2021,
        arXiv:2104.14548, eq. 3.
    """
    check_temperature(temperature)
    query, keys = unit_rows(query), unit_rows(keys)
    own = (query * keys).sum(dim=1) / temperature
    scale = 1 / temperature
    return (log_sum_exp(query, keys, scale=scale, tile_size=tile_size, group=group) - own).mean()


@full_precision
def nt_xent(
    first: Float[Tensor, "batch dim"],
    second: Float[Tensor, "batch dim"],
    *,
    temperature: float = 0.1,
    tile_size: int | None = None,
) -> Float[Tensor, ""]:
    """SimCLR's loss: every view against the ``2 batch - 1`` others, its partner the positive.

    Args:
        first: One view of each sample.
        second: Another view, in the same order.
        temperature: Softmax temperature, dimensionless, above 0.
        tile_size: Side of the tiles that the similarities are made in; None makes all at once.

    Returns:
        Mean over all views, in nats; ``log(2 batch - 1)`` when all are equally similar, and 0 for
        a batch of one sample, which has no negatives.

    Raises:
        ValueError: If ``temperature`` is not positive.

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
    tile_size: int | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, ""]:
    """NT-Xent of two or more views: the logarithms of a view's positives are averaged.

    Args:
        views: ``views[v][i]`` shows sample ``i``; rows are L2-normalized here.
        temperature: Softmax temperature, dimensionless, above 0.
        tile_size: Side of the tiles that the similarities are made in; None makes all at once.
        group: The processes that share the batch.

    Returns:
        Mean over this process's views, in nats.

    Raises:
        ValueError: If ``temperature`` is not positive, or there is one view only.

    References:
        Chen et al., 2020, arXiv:2002.05709, eq. 1; over several positives Khosla et al., 2020,
        arXiv:2004.11362, eq. 2.
    """
    check_temperature(temperature)
    views = unit_views(views)
    rows = views.flatten(0, 1)
    itself = torch.arange(len(rows), device=rows.device)[:, None] + group.rank * len(rows)
    everything = log_sum_exp(
        rows, rows, scale=1 / temperature, excluded=itself, tile_size=tile_size, group=group
    )
    return (everything - positive_cosines(views).flatten() / temperature).mean()


def check_temperature(temperature: float) -> None:
    """Refuse what a softmax cannot divide by."""
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")


def unit_views(views: Float[Tensor, "views batch dim"]) -> Float[Tensor, "views batch dim"]:
    """Views with rows of length 1, if there are at least two to compare."""
    if len(views) < 2:  # noqa: PLR2004
        raise ValueError(f"views are compared with each other: there must be 2, got {len(views)}")
    return unit_rows(views.flatten(0, 1)).view_as(views)


def positive_cosines(views: Float[Tensor, "views batch dim"]) -> Float[Tensor, "views batch"]:
    """Mean similarity of each view with the other views of its sample."""
    others = views.sum(dim=0) - views
    return (others * views).sum(dim=2) / (len(views) - 1)


def places_of_samples(
    views: Float[Tensor, "views batch dim"], group: ProcessGroup
) -> Int[Tensor, "rows views"]:
    """For each row of the flattened views, where all views of its sample stand among all rows."""
    count, batch = views.shape[:2]
    rows = torch.arange(count * batch, device=views.device).view(count, batch)
    return (rows.T + group.rank * count * batch).repeat(count, 1)
