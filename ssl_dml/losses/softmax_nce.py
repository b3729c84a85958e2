"""Noise-contrastive decisions about the probabilities of a softmax."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.losses.base import Loss
from ssl_dml.precision import full_precision


@full_precision
def softmax_nce(
    positive: Float[Tensor, " batch"], negatives: Float[Tensor, "batch keys"]
) -> Float[Tensor, ""]:
    r"""Raise the positive's probability in a softmax, and lower that of each negative.

    With :math:`h(s) = e^s / (e^{s_i} + \sum_k e^{s_{ik}})`, the probability among the positive and
    the negatives:

    .. math:: -\frac1B \sum_i \Big( \log h(s_i) + \sum_j \log (1 - h(s_{ij})) \Big)

    The first term is InfoNCE. The second adds about the negatives' probability while that is
    small. Eq. 3 of the paper defines ``h`` for one pair; here every ``h`` has the same sum.

    Args:
        positive: Similarity of each sample to its own instance, divided by the temperature.
        negatives: The same for one or more other instances.

    Returns:
        Mean over the batch, in nats.

    Examples:
        Equal similarities cost ``log(1 + keys) + keys * log((1 + keys) / keys)``:

        >>> import torch
        >>> from ssl_dml.losses import softmax_nce
        >>> softmax_nce(torch.zeros(2), torch.zeros(2, 4))
        tensor(2.5020)

    References:
        Misra and van der Maaten, 2019, arXiv:1912.01991, eq. 3 and 4.
    """
    logits = torch.cat([positive[:, None], negatives], dim=1)
    total = logits.logsumexp(dim=1, keepdim=True)
    log_probability = logits - total
    # 1 - h loses its digits where h is near 1; there it is the probability of all others.
    top = torch.zeros_like(logits, dtype=torch.bool).scatter(
        1, logits.argmax(1, keepdim=True), True
    )
    others = logits.masked_fill(top, -torch.inf).logsumexp(dim=1, keepdim=True) - total
    small = torch.log1p(-log_probability.masked_fill(top, -1.0).exp())
    log_rest = torch.where(top, others, small)
    return -(log_probability[:, 0] + log_rest[:, 1:].sum(dim=1)).mean()


@final
class SoftmaxNCE(Loss, function=softmax_nce):
    """Module form of :func:`softmax_nce`; it has no options.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import SoftmaxNCE
        >>> SoftmaxNCE()(torch.zeros(2), torch.zeros(2, 4))
        tensor(2.5020)
    """
