"""Facility location: the classes must be a better clustering than any other, by a margin."""

from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml import checks
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
    memory: LabeledEmbeddings | None = None,
    mined: Triplets | None = None,
) -> Float[Tensor, ""]:
    r"""Structured clustering loss, on Euclidean distances D of the rows as they are.

    .. math:: \max\Big(0, \; \max_S \big( F(S) + \gamma (1 - \mathrm{NMI}(y, S)) \big) - \tilde F
        \Big), \quad F(S) = -\sum_i \min_{j \in S} D_{ij}

    S is a set of as many medoids as there are classes, and :math:`\tilde F` is the same sum with
    the best medoid of each class. A greedy search finds the inner maximum, and partitioning around
    medoids refines it. Gradient flows through the distances to the medoids found. The loss is a
    sum, so it grows with the batch.

    Args:
        embeddings: Rows; of length 1 in the paper.
        labels: Class of each row.
        margin: :math:`\gamma`, above 0.
        normalizer: NMI divides by the ``geometric`` mean of both entropies, as in the paper, or by
            the ``arithmetic`` mean, as in scikit-learn.
        sweeps: Sweeps of refinement; 0 keeps the result of the greedy search.
        memory: Not supported; None.
        mined: Not supported; None.

    Returns:
        0 where the classes are the best clustering by the margin, or the batch is empty.

    Raises:
        ValueError: If ``margin`` or ``sweeps`` is outside its range, or there is a memory or a
            miner: the loss clusters the batch alone.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import facility_location
        >>> rows = torch.tensor([[0.0], [0.1], [9.0], [9.1]])
        >>> facility_location(rows, torch.tensor([0, 0, 1, 1]))
        tensor(0.)

    References:
        Song et al., 2017, arXiv:1612.01213, eq. 3 to 9, algorithms 1 and 2; sums and the order of
        the search as in TensorFlow's ``cluster_loss``.
    """
    if mined is not None or memory is not None:
        raise ValueError("FacilityLocation clusters the batch: leave out miner and memory")
    checks.positive(margin=margin)
    checks.at_least(0, sweeps=sweeps)
    if len(embeddings) == 0:
        return embeddings.sum() * 0
    found = distances(embeddings)
    given = labels.to("cpu", non_blocking=True)  # is there when what is copied after it is
    fixed = found.detach().cpu().double().numpy()
    if not np.isfinite(fixed).all():
        return found.sum()  # not finite, like any other loss of such rows
    classes = np.unique(given.numpy(), return_inverse=True)[1]
    chosen, assignment = worst_medoids(
        fixed, classes, margin=margin, normalizer=normalizer, sweeps=sweeps
    )
    best = _medoids_of_classes(fixed, classes)[classes]
    gap = 1 - nmi(classes, assignment, normalizer=normalizer)
    rows = torch.arange(len(found), device=found.device)
    reached, wanted = (
        -found[rows, torch.from_numpy(medoids).to(found.device, non_blocking=True)].sum()
        for medoids in (chosen[assignment], best)
    )
    return (reached + margin * gap - wanted).clamp(min=0)


def _medoids_of_classes(
    fixed: Float[np.ndarray, "batch batch"], classes: Int[np.ndarray, " batch"]
) -> Int[np.ndarray, " classes"]:
    """The medoid of each class: the row with the smallest sum of distances to its class."""
    costs = (fixed * (classes[:, None] == classes)).sum(axis=0)
    order = np.lexsort((costs, classes))
    return order[np.unique(classes[order], return_index=True)[1]]


@final
class FacilityLocation(PairLoss, function=facility_location):
    """Module form of :func:`facility_location`.

    Args:
        margin: Above 0.
        normalizer: ``geometric`` or ``arithmetic``.
        sweeps: At least 0.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import FacilityLocation
        >>> rows = torch.tensor([[0.0], [0.1], [9.0], [9.1]])
        >>> FacilityLocation(margin=2.0)(rows, torch.tensor([0, 0, 1, 1]))
        tensor(0.)
    """
