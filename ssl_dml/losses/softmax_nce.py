"""Noise-contrastive decisions about the shares of a softmax."""

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.precision import full_precision


@full_precision
def softmax_nce(
    positive: Float[Tensor, " batch"], negatives: Float[Tensor, "batch keys"]
) -> Float[Tensor, ""]:
    r"""Raise the positive's fraction of a softmax, and lower each negative's fraction by itself.

    With :math:`h(s) = e^s / (e^{s_i} + \sum_k e^{s_{ik}})`, the fraction among the positive and the
    negatives:

    .. math:: -\frac1B \sum_i \Big( \log h(s_i) + \sum_j \log (1 - h(s_{ij})) \Big)

    The first term is InfoNCE; the second adds to it about the negatives' fraction while that is
    small. The paper's eq. 3 names one pair's fraction; this reads every ``h`` over the same sum.

    Args:
        positive: Similarity of each sample with its own instance, divided by the temperature.
        negatives: The same with one or more other instances.

    Returns:
        Mean over the batch, in nats; ``log(1 + keys) + keys * log((1 + keys) / keys)`` when all
        are equally similar.

    References:
        Misra and van der Maaten, 2019, arXiv:1912.01991, eq. 3 and 4.
    """
    logits = torch.cat([positive[:, None], negatives], dim=1)
    total = logits.logsumexp(dim=1, keepdim=True)
    log_share = logits - total
    # 1 - h loses its digits where h is near 1; there it is the fraction of all the others.
    top = torch.zeros_like(logits, dtype=torch.bool).scatter(
        1, logits.argmax(1, keepdim=True), True
    )
    others = logits.masked_fill(top, -torch.inf).logsumexp(dim=1, keepdim=True) - total
    small = torch.log1p(-log_share.masked_fill(top, -1.0).exp())
    log_rest = torch.where(top, others, small)
    return -(log_share[:, 0] + log_rest[:, 1:].sum(dim=1)).mean()
