"""N-pair: one positive against one negative of every other class."""

from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.losses.base import PairLoss
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets

Against = Literal["all", "one"]


@full_precision
def n_pair(
    anchors: Embeddings,
    positives: Embeddings,
    labels: Labels | None = None,
    *,
    against: Against = "all",
    l2: float = 0.002,
    memory: LabeledEmbeddings | None = None,
) -> Float[Tensor, ""]:
    r"""N-pair-mc: the negatives of a pair are the positives of the other pairs.

    .. math:: \frac1N \sum_i \log \Big( 1 + \sum_{j \ne i} e^{f_i \cdot f_j^+ - f_i \cdot f_i^+}
        \Big) + \frac{\lambda}{4N} \sum_i \big( \|f_i\|^2 + \|f_i^+\|^2 \big)

    Args:
        anchors: f, as they are: dot products are not divided by lengths.
        positives: :math:`f^+`, one for each anchor.
        labels: Class of each pair; pairs of the same class are not negatives. None if all differ.
        against: ``all`` negatives in one softmax, or ``one`` at a time (N-pair-ovo, with the sum
            outside of the logarithm).
        l2: :math:`\lambda` of the term that bounds the lengths, at least 0; scaled as in
            TensorFlow's ``npairs_loss``.
        memory: Further negatives; rows with a negative label are left out. Needs ``labels``.

    Returns:
        Mean over pairs, in nats.

    Raises:
        ValueError: If ``l2`` is negative.

    Examples:
        Equal rows cost the logarithm of the number of pairs:

        >>> import torch
        >>> from ssl_dml.losses import n_pair
        >>> n_pair(torch.ones(5, 3), torch.ones(5, 3), l2=0.0)
        tensor(1.6094)

    References:
        Sohn, 2016, "Improved deep metric learning with multi-class N-pair loss objective", eq. 7
        and 8. pytorch-metric-learning's default normalizes rows and has no L2 term.
    """
    checks.at_least(0, l2=l2)
    labels = torch.arange(len(anchors), device=anchors.device) if labels is None else labels
    keys, classes = positives, labels
    if memory is not None:
        keys = torch.cat([positives, memory.embeddings.detach().to(positives)])
        classes = torch.cat([labels, memory.labels.to(labels)])
    scores = anchors @ keys.T
    excluded = (labels[:, None] == classes) | (classes < 0)
    if against == "one":
        gaps = scores - scores.diagonal()[:, None]
        total = F.softplus(gaps.masked_fill(excluded, -torch.inf)).sum()
    else:
        kept = scores.masked_fill(excluded.fill_diagonal_(False), -torch.inf)
        own = torch.arange(len(anchors), device=anchors.device)
        total = F.cross_entropy(kept, own, reduction="sum")
    if l2:
        total = total + l2 / 4 * (anchors.square().sum() + positives.square().sum())
    return total / max(1, len(anchors))


def _n_pair_of_batch(
    embeddings: Embeddings,
    labels: Labels,
    *,
    against: Against = "all",
    l2: float = 0.002,
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    if mined is not None:
        raise ValueError("NPair makes its own pairs: leave the miner out")
    first, second = _pairs(labels)
    if len(first) == 0:
        return embeddings.sum() * 0
    first_rows, second_rows, classes = embeddings[first], embeddings[second], labels[first]
    return n_pair(first_rows, second_rows, classes, against=against, l2=l2, memory=memory)


def _pairs(labels: Labels) -> tuple[Tensor, Tensor]:
    """Rows of the same class two by two, in their order; an odd row is left out."""
    ranked, order = labels.sort(stable=True)
    rank = torch.arange(len(order), device=labels.device)
    as_next = ranked[:-1] == ranked[1:]
    begins = rank[1:].masked_fill(as_next, 0).cummax(0).values  # of the class of the next row
    first = F.pad(begins, (1, 0))[:-1]
    at = (as_next & ((rank[:-1] - first) % 2 == 0) & (ranked[:-1] >= 0)).nonzero()[:, 0]
    return order[at], order[at + 1]


@final
class NPair(PairLoss, function=_n_pair_of_batch):
    """:func:`n_pair` on the pairs of a batch: the first two rows of a class, the next two, ...

    It takes a memory, but no miner.

    Args:
        against: ``all`` or ``one``.
        l2: At least 0.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import NPair
        >>> NPair(l2=0.0)(torch.ones(10, 3), torch.arange(5).repeat_interleave(2))
        tensor(1.6094)
    """
