"""Lifted structure: each positive pair against all negatives of both its ends."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.losses.base import PairLoss, average, compare, log_sum_where
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


@full_precision
def lifted(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float = 1.0,
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""Lifted structured loss, on Euclidean distances D of the rows as they are.

    .. math:: \frac{1}{2 |P|} \sum_{(i, j) \in P} \max(0, J_{ij})^2, \quad J_{ij} = D_{ij} +
        \log \Big( \sum_{k \in N_i} e^{m - D_{ik}} + \sum_{l \in N_j} e^{m - D_{jl}} \Big)

    The negatives of a row of the memory are the anchors of other classes. A pair without a
    negative does not count.

    Args:
        embeddings: Rows.
        labels: Class of each row.
        margin: m.
        memory: Embeddings of earlier batches, further positives and negatives.
        mined: Triplets whose pairs count; None for all pairs.

    Examples:
        Four equal rows of two classes cost ``(margin + log(4)) ** 2 / 2``:

        >>> import torch
        >>> from ssl_dml.losses import lifted
        >>> lifted(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]))
        tensor(2.8472)

    References:
        Oh Song et al., 2016, arXiv:1511.06452, eq. 4.
    """
    found, positive, negative = compare(embeddings, labels, memory, mined)
    batch, push = len(embeddings), margin - found
    own = log_sum_where(push, negative)
    of_memory = log_sum_where(push[:, batch:], negative[:, batch:], dim=0)
    ends = torch.logaddexp(own[:, None], torch.cat([own, of_memory]))
    pushed = negative.any(dim=1)
    either = pushed[:, None] | torch.cat([pushed, negative[:, batch:].any(dim=0)])
    hinge = (found + ends).masked_fill(~(positive & either), 0.0).clamp(min=0)
    return average(hinge.square(), positive & either) / 2


@full_precision
def generalized_lifted(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float = 1.0,
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""Lifted loss with a smooth maximum over the positives too, on Euclidean distances D.

    .. math:: \max\Big(0, \; \log \sum_{p} e^{D_{ap}} + \log \sum_{n} e^{m - D_{an}} \Big)

    It is the mean over anchors that have a positive and a negative.

    Args:
        embeddings: Rows, as they are.
        labels: Class of each row.
        margin: m.
        memory: Embeddings of earlier batches, further positives and negatives.
        mined: Triplets whose pairs count; None for all pairs.

    Examples:
        Four equal rows of two classes cost ``margin + log(2)``:

        >>> import torch
        >>> from ssl_dml.losses import generalized_lifted
        >>> generalized_lifted(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]))
        tensor(1.6931)

    References:
        Hermans et al., 2017, arXiv:1703.07737, eq. 10.
    """
    found, positive, negative = compare(embeddings, labels, memory, mined)
    counted = positive.any(dim=1) & negative.any(dim=1)
    both = log_sum_where(found, positive) + log_sum_where(margin - found, negative)
    return average(both.masked_fill(~counted, 0.0).clamp(min=0), counted)


@final
class Lifted(PairLoss, function=lifted):
    """Module form of :func:`lifted`.

    Args:
        margin: Distance at which a negative weighs 1.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import Lifted
        >>> Lifted(margin=1.0)(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]))
        tensor(2.8472)
    """


@final
class GeneralizedLifted(PairLoss, function=generalized_lifted):
    """Module form of :func:`generalized_lifted`.

    Args:
        margin: Distance at which a negative weighs 1.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import GeneralizedLifted
        >>> GeneralizedLifted(margin=1.0)(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]))
        tensor(1.6931)
    """
