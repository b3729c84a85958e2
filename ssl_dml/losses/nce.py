"""Noise-contrastive estimation of a softmax over instances."""

import math

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.losses.info_nce import check_temperature
from ssl_dml.precision import full_precision


@full_precision
def nce(
    positive: Float[Tensor, " batch"],
    negatives: Float[Tensor, "batch keys"],
    *,
    log_z: Float[Tensor, ""],
    num_instances: int,
) -> Float[Tensor, ""]:
    r"""Tell each sample's own instance from ``keys`` instances drawn uniformly.

    With :math:`h(s) = P / (P + m P_n)`, :math:`P = e^s / Z` and :math:`P_n = 1/N`:

    .. math:: -\frac1B \sum_i \Big( \log h(s_i) + \sum_{j=1}^m \log (1 - h(s_{ij})) \Big)

    It is computed in the log domain, so no exponential overflows and none is kept from 0 by an
    epsilon; the authors' code adds 1e-7 to both denominators.

    Args:
        positive: Similarity of each sample with its own instance, divided by the temperature.
        negatives: The same with the instances drawn.
        log_z: Logarithm of the softmax's normalizer Z, in nats.
        num_instances: Number of instances N that the noise is uniform over.

    Returns:
        Mean over the batch of the sum over the ``1 + keys`` decisions, in nats;
        ``(1 + keys) log 2`` when every ``h`` is one half.

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
        similarities: Similarities with instances drawn uniformly, divided by the temperature.
        num_instances: Number of instances N.

    Returns:
        Nats; ``log(N)`` when every similarity is 0.

    References:
        Wu et al., 2018, arXiv:1805.01978, eq. 8.
    """
    count = similarities.numel()
    return similarities.flatten().logsumexp(dim=0) + math.log(num_instances / count)


@full_precision
def full_softmax(
    embeddings: Float[Tensor, "batch dim"],
    bank: Float[Tensor, "instances dim"],
    *,
    instances: Int[Tensor, " batch"],
    temperature: float = 0.07,
) -> Float[Tensor, ""]:
    """Cross-entropy of the non-parametric softmax over every instance of the bank.

    Rows are taken as they are; both sides are unit vectors in the paper.

    Args:
        embeddings: Rows that are classified.
        bank: One row an instance.
        instances: Own instance of each row.
        temperature: Softmax temperature, dimensionless, above 0.

    Returns:
        Mean over the batch, in nats; ``log(instances)`` when all are equally similar.

    Raises:
        ValueError: If ``temperature`` is not positive.

    References:
        Wu et al., 2018, arXiv:1805.01978, eq. 2.
    """
    check_temperature(temperature)
    return F.cross_entropy(embeddings @ bank.T / temperature, instances)
