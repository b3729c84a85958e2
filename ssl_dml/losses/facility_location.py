"""Facility location: the true clustering is to score better than any other by a margin of NMI."""

from functools import partial
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.distances import distances
from ssl_dml.losses.base import PairLoss
from ssl_dml.losses.medoids import Normalizer, nmi, worst_medoids
from ssl_dml.precision import full_precision
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets


@full_precision
def facility_location(
    embeddings: Embeddings,
    labels: Labels,
    *,
    margin: float = 1.0,
    normalizer: Normalizer = "geometric",
    sweeps: int = 5,
) -> Float[Tensor, ""]:
    r"""Structured clustering loss, on Euclidean distances D of the rows as they are.

    .. math:: \max\Big(0, \; \max_S \big( F(S) + \gamma (1 - \mathrm{NMI}(y, S)) \big) - \tilde F
        \Big), \quad F(S) = -\sum_i \min_{j \in S} D_{ij}

    S is a set of as many medoids as there are classes and :math:`\tilde F` the same sum with the
    best medoid of each class. The inner maximum is searched greedily and then refined by
    partitioning around medoids; gradient flows through the distances of what was found. Sums,
    not means: the loss grows with the batch.

    Args:
        embeddings: Rows, in the paper of length 1.
        labels: Class of each.
        margin: :math:`\gamma`, above 0.
        normalizer: What NMI divides mutual information by: the ``geometric`` mean of both
            entropies in the paper, the ``arithmetic`` in scikit-learn.
        sweeps: Sweeps of refinement; 0 leaves the greedy search as it is.

    Returns:
        0 where the classes are the best clustering by the margin, or a batch is empty.

    Raises:
        ValueError: If ``margin`` is not positive, or ``sweeps`` is negative.

    References:
        Song et al., 2017, arXiv:1612.01213, eq. 3 to 9, algorithms 1 and 2; sums and the order of
        the search as in TensorFlow's ``cluster_loss``.
    """
    if margin <= 0:
        raise ValueError(f"margin must be positive, got {margin}")
    if sweeps < 0:
        raise ValueError(f"sweeps must be at least 0, got {sweeps}")
    if len(embeddings) == 0:
        return embeddings.sum() * 0
    found = distances(embeddings)
    fixed = found.detach().cpu().double().numpy()
    if not np.isfinite(fixed).all():
        return found.sum()  # as it is for other losses; there is no clustering of such rows
    classes = np.unique(labels.cpu().numpy(), return_inverse=True)[1]
    chosen, assignment = worst_medoids(
        fixed, classes, margin=margin, normalizer=normalizer, sweeps=sweeps
    )
    gap = 1 - nmi(classes, assignment, normalizer=normalizer)
    rows = torch.arange(len(found), device=found.device)
    reached = -found[rows, _indices(chosen[assignment], found)].sum()
    wanted = -found[rows, _indices(_medoids_of_classes(fixed, classes)[classes], found)].sum()
    return (reached + margin * gap - wanted).clamp(min=0)


def _medoids_of_classes(
    fixed: Float[np.ndarray, "batch batch"], classes: Int[np.ndarray, " batch"]
) -> Int[np.ndarray, " classes"]:
    """The row of each class that the others of it are nearest to."""
    costs = (fixed * (classes[:, None] == classes)).sum(axis=0)
    order = np.lexsort((costs, classes))
    return order[np.unique(classes[order], return_index=True)[1]]


def _indices(rows: Int[np.ndarray, " batch"], like: Tensor) -> Int[Tensor, " batch"]:
    return torch.from_numpy(rows).to(like.device)


@final
class FacilityLocation(PairLoss):
    """Module form of :func:`facility_location`.

    Args:
        margin: Above 0.
        normalizer: ``geometric`` or ``arithmetic``.
        sweeps: At least 0.
    """

    def __init__(
        self, *, margin: float = 1.0, normalizer: Normalizer = "geometric", sweeps: int = 5
    ) -> None:
        super().__init__()
        self.loss = partial(facility_location, margin=margin, normalizer=normalizer, sweeps=sweeps)

    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        memory: LabeledEmbeddings | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a whole batch.

        Raises:
            ValueError: If there is a miner or a memory: a clustering is of the batch alone.
        """
        if mined is not None or memory is not None:
            raise ValueError("FacilityLocation clusters the batch: leave out miner and memory")
        return self.loss(embeddings, labels)
