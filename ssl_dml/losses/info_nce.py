"""InfoNCE: classify the key of each query among many keys."""

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
def info_nce(
    query: Float[Tensor, "batch dim"],
    positive: Float[Tensor, "batch dim"],
    negatives: Float[Tensor, "keys dim"],
    *,
    temperature: float = 0.07,
    tile_size: TileSize = None,
) -> Float[Tensor, ""]:
    r"""Cross-entropy of each query's positive against negatives that all queries share.

    .. math:: -\frac1B \sum_i \log \frac{e^{q_i \cdot k_i / \tau}}
        {e^{q_i \cdot k_i / \tau} + \sum_j e^{q_i \cdot n_j / \tau}}

    Rows are normalized here.

    Args:
        query: Rows to classify.
        positive: ``positive[i]`` is the key of ``query[i]``.
        negatives: Keys of other samples, such as a queue; may have no rows.
        temperature: Softmax temperature, above 0.
        tile_size: Side of the tiles of the similarity matrix; ``auto`` suits the device, None
            computes it at once.

    Returns:
        Mean over queries, in nats; 0 if there are no negatives.

    Raises:
        ValueError: If ``temperature`` is not positive.

    Examples:
        Equal keys cost ``log(1 + negatives)``:

        >>> import torch
        >>> from ssl_dml.losses import info_nce
        >>> info_nce(torch.ones(2, 3), torch.ones(2, 3), torch.ones(9, 3))
        tensor(2.3026)

    References:
        van den Oord et al., 2018, arXiv:1807.03748, eq. 4; He et al., 2020, arXiv:1911.05722,
        eq. 1.
    """
    checks.positive(temperature=temperature)
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
    tile_size: TileSize = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, ""]:
    """Cross-entropy of each query's own key among the keys of the whole batch.

    Rows are normalized here.

    Args:
        query: Rows to classify.
        keys: ``keys[i]`` is the positive of ``query[i]``; all other keys, on every process, are
            negatives.
        temperature: Softmax temperature, above 0.
        tile_size: Side of the tiles of the similarity matrix; ``auto`` suits the device, None
            computes it at once.
        group: The processes that share the batch.

    Returns:
        Mean over this process's queries, in nats.

    Raises:
        ValueError: If ``temperature`` is not positive.

    Examples:
        Equal keys cost the logarithm of the batch size:

        >>> import torch
        >>> from ssl_dml.losses import in_batch_info_nce
        >>> in_batch_info_nce(torch.ones(4, 3), torch.ones(4, 3))
        tensor(1.3863)

    References:
        Chen et al., 2021, arXiv:2104.02057, algorithm 1; Dwibedi et al., 2021,
        arXiv:2104.14548, eq. 3.
    """
    checks.positive(temperature=temperature)
    query, keys = unit_rows(query), unit_rows(keys)
    own = (query * keys).sum(dim=1) / temperature
    scale = 1 / temperature
    return (log_sum_exp(query, keys, scale=scale, tile_size=tile_size, group=group) - own).mean()


@final
class InfoNCE(Loss, function=info_nce):
    """Module form of :func:`info_nce`.

    Args:
        temperature: Above 0.
        tile_size: At least 1, or ``auto``; None computes all similarities at once.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import InfoNCE
        >>> InfoNCE(temperature=0.2)(torch.ones(2, 3), torch.ones(2, 3), torch.ones(9, 3))
        tensor(2.3026)
    """


@final
class InBatchInfoNCE(Loss, function=in_batch_info_nce):
    """Module form of :func:`in_batch_info_nce`.

    Args:
        temperature: Above 0.
        tile_size: At least 1, or ``auto``; None computes all similarities at once.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import InBatchInfoNCE
        >>> InBatchInfoNCE(temperature=0.2)(torch.ones(4, 3), torch.ones(4, 3))
        tensor(1.3863)
    """
