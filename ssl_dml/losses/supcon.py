"""Contrast with labels: every sample of a class is a positive of the others."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.losses.info_nce import check_temperature
from ssl_dml.losses.tiles import log_sum_exp
from ssl_dml.precision import full_precision, unit_rows
from ssl_dml.types import SINGLE_PROCESS, ProcessGroup


@full_precision
def supcon(
    views: Float[Tensor, "views batch dim"],
    labels: Int[Tensor, " batch"],
    *,
    temperature: float = 0.07,
    base_temperature: float | None = None,
    tile_size: int | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Float[Tensor, ""]:
    r"""Supervised contrastive loss with the mean over positives outside the logarithm.

    .. math:: \frac{1}{|A|} \sum_{i \in A} \Big( \log \sum_{a \ne i} e^{s_{ia} / \tau}
        - \frac{1}{|P(i)|} \sum_{p \in P(i)} s_{ip} / \tau \Big)

    A holds the views that have a positive; the others do not count, as anchors. The mean over
    positives is a product with the sum of a class, so it costs no matrix either.

    Args:
        views: ``views[v][i]`` shows sample ``i``; rows are L2-normalized here.
        labels: Class of each sample; a negative one is not known, and then only the other views
            of the sample are its positives.
        temperature: Softmax temperature, dimensionless, above 0.
        base_temperature: The authors' code multiplies the loss by ``temperature`` over this, 0.07;
            None leaves that out, as the paper does.
        tile_size: Side of the tiles that the similarities are made in; None makes all at once.
        group: The processes that share the batch.

    Returns:
        Nats; over processes its mean is that over all anchors, and 0 if there is none.
        ``log(rows - 1)`` when all are equally similar.

    Raises:
        ValueError: If a temperature is not positive.

    References:
        Khosla et al., 2020, arXiv:2004.11362, eq. 2.
    """
    check_temperature(temperature)
    if base_temperature is not None and base_temperature <= 0:
        raise ValueError(f"base_temperature must be positive or null, got {base_temperature}")
    count, batch = views.shape[:2]
    rows = unit_rows(views.flatten(0, 1))
    own_class, number = _classes_in_batch(labels, group)
    sums = rows.new_zeros(number, rows.shape[1])
    sums = group.all_reduce_sum(sums.index_add(0, own_class, rows.view_as(views).sum(dim=0)))
    members = torch.bincount(own_class, minlength=number) * count
    members = group.gather(members[None]).view(-1, number).sum(dim=0)

    classes = own_class.repeat(count)
    positives = (members[classes] - 1).to(rows.dtype)
    similarity = ((sums[classes] - rows) * rows).sum(dim=1) / positives.clamp(min=1)
    itself = torch.arange(len(rows), device=rows.device)[:, None] + group.rank * count * batch
    everything = log_sum_exp(
        rows, rows, scale=1 / temperature, excluded=itself, tile_size=tile_size, group=group
    )
    anchors = positives > 0
    losses = torch.where(anchors, everything - similarity / temperature, 0.0)
    total = group.gather(anchors.sum()[None]).sum().clamp(min=1)
    factor = 1.0 if base_temperature is None else temperature / base_temperature
    return factor * group.count * losses.sum() / total


def _classes_in_batch(
    labels: Int[Tensor, " batch"], group: ProcessGroup
) -> tuple[Int[Tensor, " batch"], int]:
    """Labels numbered from 0 without gaps over the whole batch, and how many there are."""
    first = group.rank * len(labels)
    places = torch.arange(first, first + len(labels), device=labels.device)
    everyone = group.gather(torch.where(labels < 0, -1 - places, labels))
    found, numbered = everyone.unique(return_inverse=True)
    return numbered[first : first + len(labels)], len(found)
