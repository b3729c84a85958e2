"""Supervised contrastive loss: all samples of a class are positives of each other."""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml import checks
from ssl_dml.losses.base import Loss
from ssl_dml.losses.nt_xent import log_sum_of_others
from ssl_dml.losses.tiles import TileSize
from ssl_dml.precision import full_precision, unit_rows
from ssl_dml.types import SINGLE_PROCESS, ProcessGroup


@full_precision
def supcon(
    views: Float[Tensor, "views batch dim"],
    labels: Int[Tensor, " batch"],
    *,
    temperature: float = 0.07,
    base_temperature: float | None = None,
    tile_size: TileSize = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, ""]:
    r"""Supervised contrastive loss with the mean over positives outside the logarithm.

    .. math:: \frac{1}{|A|} \sum_{i \in A} \Big( \log \sum_{a \ne i} e^{s_{ia} / \tau}
        - \frac{1}{|P(i)|} \sum_{p \in P(i)} s_{ip} / \tau \Big)

    The anchors A are the views that have a positive. The mean over positives is computed from the
    sum of each class, so it needs no matrix either.

    Args:
        views: ``views[v][i]`` shows sample ``i``; rows are normalized here. One view will do.
        labels: Class of each sample. A negative label is unknown: the only positives of the
            sample are its other views.
        temperature: Softmax temperature, above 0.
        base_temperature: The authors' code multiplies the loss by ``temperature`` over this, 0.07.
            None leaves that out, as the paper does.
        tile_size: Side of the tiles of the similarity matrix; ``auto`` suits the device, None
            computes it at once.
        group: The processes that share the batch.

    Returns:
        Nats; its mean over processes is the mean over all anchors, and 0 if there is none.

    Raises:
        ValueError: If a temperature is not positive.

    Examples:
        Equal rows cost ``log(rows - 1)``:

        >>> import torch
        >>> from ssl_dml.losses import supcon
        >>> supcon(torch.ones(2, 4, 3), torch.tensor([0, 0, 1, 1]))
        tensor(1.9459)

    References:
        Khosla et al., 2020, arXiv:2004.11362, eq. 2.
    """
    checks.positive(temperature=temperature, base_temperature=base_temperature)
    count = len(views)
    rows = unit_rows(views.flatten(0, 1))
    own_class, number = _classes_in_batch(labels, group)
    sums = rows.new_zeros(number, rows.shape[1])
    sums = group.all_reduce_sum(sums.index_add(0, own_class, rows.view_as(views).sum(dim=0)))
    ones = torch.full_like(own_class, count)
    members = ones.new_zeros(number).index_add(0, own_class, ones)
    members = group.gather(members[None]).view(-1, number).sum(dim=0)

    classes = own_class.repeat(count)
    positives = (members[classes] - 1).to(rows.dtype)
    similarity = ((sums[classes] - rows) * rows).sum(dim=1) / positives.clamp(min=1)
    everything = log_sum_of_others(rows, temperature, tile_size, group)
    anchors = positives > 0
    losses = torch.where(anchors, everything - similarity / temperature, 0.0)
    total = group.gather(anchors.sum()[None]).sum().clamp(min=1)
    factor = 1.0 if base_temperature is None else temperature / base_temperature
    return factor * group.count * losses.sum() / total


def _classes_in_batch(
    labels: Int[Tensor, " batch"], group: ProcessGroup
) -> tuple[Int[Tensor, " batch"], int]:
    """Renumber the labels of the whole batch from 0 without gaps, and count them."""
    first = group.rank * len(labels)
    rows = torch.arange(first, first + len(labels), device=labels.device)
    gathered = group.gather(torch.where(labels < 0, -1 - rows, labels))
    found, numbered = gathered.unique(return_inverse=True)
    return numbered[first : first + len(labels)], len(found)


@final
class SupCon(Loss, function=supcon):
    """Module form of :func:`supcon`.

    Args:
        temperature: Above 0.
        base_temperature: Above 0; None for the paper's loss.
        tile_size: At least 1, or ``auto``; None computes all similarities at once.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import SupCon
        >>> SupCon(temperature=0.5)(torch.ones(2, 4, 3), torch.tensor([0, 0, 1, 1]))
        tensor(1.9459)
    """
