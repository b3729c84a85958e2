"""Noise-contrastive estimation of a softmax over instances."""

import math
from typing import final

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml import checks
from ssl_dml.losses.base import Loss
from ssl_dml.precision import full_precision


@full_precision
def nce(
    positive: Float[Tensor, " batch"],
    negatives: Float[Tensor, "batch keys"],
    log_z: Float[Tensor, ""],
    *,
    num_instances: int,
) -> Float[Tensor, ""]:
    r"""Tell each sample's own instance from ``keys`` instances sampled uniformly.

    With :math:`h(s) = P / (P + m P_n)`, :math:`P = e^s / Z` and :math:`P_n = 1/N`:

    .. math:: -\frac1B \sum_i \Big( \log h(s_i) + \sum_{j=1}^m \log (1 - h(s_{ij})) \Big)

    It is computed in the log domain, so no exponential overflows and no epsilon is needed. The
    authors' code adds 1e-7 to both denominators.

    Args:
        positive: Similarity of each sample to its own instance, divided by the temperature.
        negatives: The same for the sampled instances.
        log_z: Logarithm of the softmax's normalizer Z, in nats.
        num_instances: Number of instances N that the noise is uniform over.

    Returns:
        Mean over the batch of the sum over the ``1 + keys`` decisions, in nats.

    Examples:
        Each decision costs ``log(2)`` when every ``h`` is one half:

        >>> import torch
        >>> from ssl_dml.losses import nce
        >>> nce(torch.zeros(2), torch.zeros(2, 4), log_z=torch.tensor(0.0), num_instances=4)
        tensor(3.4657)

    References:
        Wu et al., 2018, arXiv:1805.01978, eq. 5 to 7; Gutmann and Hyvärinen, 2010.
    """
    shift = log_z + math.log(max(negatives.shape[1], 1) / num_instances)
    own = F.logsigmoid(positive - shift)
    noise = F.logsigmoid(shift - negatives).sum(dim=1)
    return -(own + noise).mean()


@full_precision
def log_normalizer(
    similarities: Float[Tensor, "batch keys"], *, num_instances: int
) -> Float[Tensor, ""]:
    r"""Monte Carlo estimate of :math:`\log Z`, the mean over the batch of eq. 8 of the paper.

    .. math:: \log \frac{N}{Bm} \sum_{ij} e^{s_{ij}}

    Args:
        similarities: Similarities to uniformly sampled instances, divided by the temperature.
        num_instances: Number of instances N.

    Returns:
        Nats.

    Examples:
        Similarities of 0 give ``log(N)``:

        >>> import torch
        >>> from ssl_dml.losses import log_normalizer
        >>> log_normalizer(torch.zeros(3, 7), num_instances=100)
        tensor(4.6052)

    References:
        Wu et al., 2018, arXiv:1805.01978, eq. 8.
    """
    count = similarities.numel()
    return similarities.flatten().logsumexp(dim=0) + math.log(num_instances / count)


@full_precision
def full_softmax(
    embeddings: Float[Tensor, "batch dim"],
    bank: Float[Tensor, "instances dim"],
    instances: Int[Tensor, " batch"],
    *,
    temperature: float = 0.07,
) -> Float[Tensor, ""]:
    """Cross-entropy of the non-parametric softmax over all instances of the memory bank.

    Rows are taken as they are; both sides are unit vectors in the paper.

    Args:
        embeddings: Rows to classify.
        bank: One row for each instance.
        instances: Own instance of each row.
        temperature: Softmax temperature, above 0.

    Returns:
        Mean over the batch, in nats.

    Raises:
        ValueError: If ``temperature`` is not positive.

    Examples:
        Equal similarities cost the logarithm of the number of instances:

        >>> import torch
        >>> from ssl_dml.losses import full_softmax
        >>> full_softmax(torch.ones(2, 3), torch.ones(5, 3), instances=torch.tensor([0, 4]))
        tensor(1.6094)

    References:
        Wu et al., 2018, arXiv:1805.01978, eq. 2.
    """
    checks.positive(temperature=temperature)
    return F.cross_entropy(embeddings @ bank.T / temperature, instances)


@final
class NCE(Loss, function=nce):
    """Module form of :func:`nce`.

    Args:
        num_instances: Number of instances that the noise is uniform over.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import NCE
        >>> NCE(num_instances=4)(torch.zeros(2), torch.zeros(2, 4), log_z=torch.tensor(0.0))
        tensor(3.4657)
    """


@final
class FullSoftmax(Loss, function=full_softmax):
    """Module form of :func:`full_softmax`.

    Args:
        temperature: Above 0.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import FullSoftmax
        >>> loss = FullSoftmax(temperature=0.1)
        >>> loss(torch.ones(2, 3), torch.ones(5, 3), instances=torch.tensor([0, 4]))
        tensor(1.6094)
    """
