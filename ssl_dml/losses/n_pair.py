"""N-pair: one positive against one negative of every other class."""

from functools import partial
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.losses.base import PairLoss
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets

Against = Literal["all", "one"]


@full_precision
def tuplet(
    anchors: Embeddings,
    positives: Embeddings,
    negatives: Float[Tensor, "batch negatives dim"],
) -> Float[Tensor, ""]:
    r"""(N+1)-tuplet loss, with negatives of its own for each anchor.

    .. math:: \log \Big( 1 + \sum_n e^{f \cdot f_n - f \cdot f^+} \Big)

    Args:
        anchors: f, as they are: dot products are not divided by lengths.
        positives: One for each anchor.
        negatives: Those of each anchor; with one it is a logistic triplet loss.

    Returns:
        Mean over anchors, in nats; ``log(1 + negatives)`` where all are equally similar.

    References:
        Sohn, 2016, "Improved deep metric learning with multi-class N-pair loss objective", eq. 6.
    """
    own = (anchors * positives).sum(dim=1)
    gaps = torch.einsum("bnd,bd->bn", negatives, anchors) - own[:, None]
    return torch.cat([gaps.new_zeros(len(gaps), 1), gaps], dim=1).logsumexp(dim=1).mean()


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
    r"""N-pair-mc: each pair's negatives are the positives of the other pairs.

    .. math:: \frac1N \sum_i \log \Big( 1 + \sum_{j \ne i} e^{f_i \cdot f_j^+ - f_i \cdot f_i^+}
        \Big) + \frac{\lambda}{4N} \sum_i \big( \|f_i\|^2 + \|f_i^+\|^2 \big)

    Args:
        anchors: f, as they are: dot products are not divided by lengths.
        positives: :math:`f^+`, one for each anchor.
        labels: Class of each pair; pairs of one class are not negatives of each other. None where
            all differ.
        against: ``one`` is N-pair-ovo, with the sum outside of the logarithm.
        l2: :math:`\lambda` of the term that keeps lengths in bounds, at least 0; scaled as in
            TensorFlow's ``npairs_loss``.
        memory: Further negatives, but for those of a negative label; needs ``labels``.

    Returns:
        In nats; ``log(N)`` where all are equally similar and ``l2`` is 0.

    Raises:
        ValueError: If ``l2`` is negative.

    References:
        Sohn, 2016, "Improved deep metric learning with multi-class N-pair loss objective", eq. 7
        and 8. pytorch-metric-learning's default normalizes rows and has no L2 term.
    """
    if l2 < 0:
        raise ValueError(f"l2 must be at least 0, got {l2}")
    labels = torch.arange(len(anchors), device=anchors.device) if labels is None else labels
    others, classes = positives, labels
    if memory is not None:
        others = torch.cat([positives, memory.embeddings.detach().to(positives)])
        classes = torch.cat([labels, memory.labels.to(labels)])
    scores = anchors @ others.T
    left_out = (labels[:, None] == classes) | (classes < 0)
    if against == "one":
        gaps = scores - scores.diagonal()[:, None]
        total = F.softplus(gaps.masked_fill(left_out, -torch.inf)).sum()
    else:
        left = scores.masked_fill(left_out.fill_diagonal_(False), -torch.inf)
        own = torch.arange(len(anchors), device=anchors.device)
        total = F.cross_entropy(left, own, reduction="sum")
    if l2:
        total = total + l2 / 4 * (anchors.square().sum() + positives.square().sum())
    return total / max(1, len(anchors))


@final
class NPair(PairLoss):
    """:func:`n_pair` on the pairs of a batch: the first two rows of a class, the next two, ...

    Args:
        against: ``all`` or ``one``.
        l2: At least 0.
    """

    def __init__(self, *, against: Against = "all", l2: float = 0.002) -> None:
        super().__init__()
        self.loss = partial(n_pair, against=against, l2=l2)

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        memory: LabeledEmbeddings | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a whole batch.

        Raises:
            ValueError: If there is a miner: the pairs are the loss's own.
        """
        if mined is not None:
            raise ValueError("NPair makes its own pairs: leave the miner out")
        first, second = _pairs(labels)
        if len(first) == 0:
            return embeddings.sum() * 0
        return self.loss(embeddings[first], embeddings[second], labels[first], memory=memory)


def _pairs(labels: Labels) -> tuple[Tensor, Tensor]:
    """Rows of a class two by two, in their order; an odd one is left."""
    ranked, order = labels.sort(stable=True)
    rank = torch.arange(len(order), device=labels.device)
    as_next = ranked[:-1] == ranked[1:]
    begins = rank[1:].masked_fill(as_next, 0).cummax(0).values  # of the class of the next row
    first = F.pad(begins, (1, 0))[:-1]
    at = (as_next & ((rank[:-1] - first) % 2 == 0) & (ranked[:-1] >= 0)).nonzero()[:, 0]
    return order[at], order[at + 1]
