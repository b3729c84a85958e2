"""Center loss: pull embeddings to the center of their class."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.checks import in_range
from ssl_dml.distributed import gather, world_size
from ssl_dml.heads.base import Head, check_labels
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, Labels, StepOutput


@final
class CenterLoss(Head):
    r"""Half of the squared distances of embeddings from the centers of their classes.

    Centers are buffers, not parameters. In training, the batch moves them after its loss:

    .. math:: c_j \leftarrow c_j - \alpha \, \frac{\sum_{i: y_i = j} (c_j - x_i)}{1 + n_j}

    with sums and counts :math:`n_j` over all processes. Centers of other classes stay. The loss
    keeps classes compact but does not separate them, so combine it with another head; see
    :class:`~ssl_dml.heads.WeightedSum`.

    >>> import torch
    >>> from ssl_dml.heads import CenterLoss
    >>> head = CenterLoss(2, 3)
    >>> head(torch.ones(2, 2), torch.tensor([1, 1])).loss  # two rows at a squared distance of 2
    tensor(2.)
    >>> head.centers[1]  # 0.5 * 2 / (1 + 2)
    tensor([0.3333, 0.3333])

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of centers.
        alpha: :math:`\alpha`, from 0 to 1.
        reduction: ``sum`` over the batch, as in the paper, whose softmax is a sum too and whose
            center loss has a weight of 0.003. The ``mean`` does not grow with the batch.

    Raises:
        ValueError: If an argument is outside its range.

    References:
        Wen et al., 2016, "A discriminative feature learning approach for deep face recognition",
        eq. 2 to 4. In public codes that learn centers by gradient, the weight of the loss also
        scales how far they move.
    """

    centers: Tensor

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        alpha: float = 0.5,
        reduction: str = "sum",
    ) -> None:
        super().__init__(embedding_dim, num_classes)
        in_range(0, 1, alpha=alpha)
        if reduction not in ("sum", "mean"):
            raise ValueError(f"reduction must be sum or mean, got {reduction}")
        self.alpha, self.reduction = alpha, reduction
        self.register_buffer("centers", torch.zeros(num_classes, embedding_dim))

    def forward(self, embeddings: Embeddings, labels: Labels) -> StepOutput:
        """Loss of the whole batch, as a mean over processes. In training, then move the centers."""
        check_labels(labels, len(self.centers))
        loss = _half_squares(embeddings, self.centers[labels])
        if self.training:
            self._follow(gather(embeddings), gather(labels))
        # Of W processes, each returns W times its part of the sum, so that their mean is the sum.
        factor = world_size() if self.reduction == "sum" else 1 / max(1, len(labels))
        return StepOutput(loss * factor, {})

    @torch.no_grad()
    def _follow(self, rows: Float[Tensor, "all dim"], labels: Labels) -> None:
        found, places = labels.unique(return_inverse=True)
        self.centers[found] -= self.alpha * _pulls(self.centers[found], rows, places)


@full_precision
def _half_squares(embeddings: Embeddings, centers: Embeddings) -> Float[Tensor, ""]:
    return (embeddings - centers).square().sum() / 2


@full_precision
def _pulls(
    centers: Float[Tensor, "found dim"], rows: Float[Tensor, "all dim"], places: Labels
) -> Float[Tensor, "found dim"]:
    """The fraction of eq. 4 for each center; ``places`` are the centers of the rows."""
    # Unlike index_add_ on an accelerator, a product gives all processes the same bits.
    members = (torch.arange(len(centers), device=places.device)[:, None] == places).to(centers)
    counts = members.sum(dim=1, keepdim=True)
    return (counts * centers - members @ rows.to(centers)) / (1 + counts)
