"""k-reciprocal re-ranking: neighbors in order of what else is near to them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from ssl_dml.checks import at_least, in_range
from ssl_dml.distances import distances
from ssl_dml.evaluation.search import Metric, nearest
from ssl_dml.evaluation.spaces import Space

VALUES = 2**22  # held at once

Order = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Rerank:
    """Re-ranking by k-reciprocal neighbors.

    Args:
        k1: Nearest rows among which reciprocal ones are taken.
        k2: Nearest rows over which their weights are averaged.
        weight: Of the first distance, from 0 to 1; the rest is that of the Jaccard distance.
        candidates: Nearest rows of each query that are put in another order; those beyond stay.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3
    candidates: int = 200

    def __post_init__(self) -> None:
        at_least(1, "rerank", k1=self.k1, k2=self.k2, candidates=self.candidates)
        in_range(0, 1, "rerank", weight=self.weight)


def reranker(
    gallery: Float[Tensor, "rows dim"],
    query: Float[Tensor, "queries dim"] | None,
    config: Rerank,
    *,
    metric: Metric,
) -> Order:
    r"""A function from indices of queries, and their nearest rows, to these in another order.

    Each row of queries and gallery has a vector of weights :math:`\exp(-d)` of its k-reciprocal
    neighbors, extended by theirs and averaged over the k2 nearest. Candidates come in order of

    .. math:: (1 - \lambda) \left(1 - \frac{\sum \min(v_q, v_g)}{\sum \max(v_q, v_g)}\right)
        + \lambda d

    where d is the squared distance as a part of the largest of the row. Vectors are sparse, so
    that memory grows with the rows; time grows with their square, as that of any search.

    Args:
        gallery: Rows that are searched.
        query: Rows that search; None for each gallery row among all the others.
        config: Its parameters.
        metric: Which distance; not ``dot``.

    Raises:
        ValueError: If the metric is the dot product, or fewer rows than k1 are there.

    References:
        Zhong et al., 2017, arXiv:1701.08398, eq. 4 to 12.
    """
    if metric == "dot":
        raise ValueError("rerank compares all rows by one distance, which dot is not: take cosine")
    both = gallery if query is None else torch.cat([query, gallery])
    in_range(1, len(both) - 1, "rerank", k1=config.k1, k2=config.k2)
    offset = 0 if query is None else len(query)
    near = torch.empty(len(both), config.k1 + 1, dtype=torch.long)
    depths = torch.full((len(both),), config.k1 + 1)
    for rows, found in nearest(both, both, depths, metric=metric):
        near[rows] = found
    space = Space(both, metric)
    far = _Far(both, space, _farthest(both, space))
    weights = _weights(near, far, config.k1)
    if config.k2 > 1:
        weights = _mask(near[:, : config.k2]) @ weights / config.k2
    weights, columns = sparse.csr_array(weights), sparse.csc_array(weights)

    def order(rows: Tensor, found: Tensor) -> Tensor:
        head = found[:, : config.candidates]
        other = head + offset
        shared = np.stack([
            _shared(weights, columns, int(row))[own]
            for row, own in zip(rows, other.numpy(), strict=True)
        ])  # fmt: skip
        own = rows[:, None].expand_as(head).reshape(-1)
        apart = 1 - torch.from_numpy(shared / (2 - shared))
        ranks = torch.lerp(apart, far.of(own, other.reshape(-1)).view_as(apart), config.weight)
        ranks[head < 0] = torch.inf
        new = head.gather(1, ranks.argsort(dim=1, stable=True))
        return torch.cat([new, found[:, config.candidates :]], dim=1)

    return order


def _shared(weights: sparse.csr_array, columns: sparse.csc_array, row: int) -> np.ndarray:
    """The sum of the lower weights of a row and of each row."""
    own = slice(*weights.indptr[row : row + 2])
    part = columns[:, weights.indices[own]]
    lower = np.minimum(part.data, np.repeat(weights.data[own], np.diff(part.indptr)))
    return np.bincount(part.indices, weights=lower, minlength=len(weights.indptr) - 1)


@dataclass(frozen=True)
class _Far:
    """Squared distances of pairs, as parts of the largest of the first row."""

    rows: Float[Tensor, "rows dim"]
    space: Space
    farthest: Float[Tensor, " rows"]

    def of(self, one: Int[Tensor, " pairs"], two: Int[Tensor, " pairs"]) -> Tensor:
        found = torch.empty(len(one), dtype=torch.double)
        for part in torch.arange(len(one)).split(max(1, VALUES // self.rows.shape[1])):
            mine, theirs = (self.space.gallery(self.rows[each[part]]) for each in (one, two))
            found[part] = (mine - theirs).square_().sum(dim=1)
        return found / self.farthest[one]


def _farthest(rows: Float[Tensor, "rows dim"], space: Space) -> Float[Tensor, " rows"]:
    """The largest squared distance of each row from any."""
    found = torch.zeros(len(rows), dtype=torch.double)
    for some in torch.arange(len(rows)).split(512):
        own = space.gallery(rows[some]).float()
        for part in rows.split(VALUES // 512):
            far = distances(own, space.gallery(part).float(), kind="squared").amax(dim=1)
            found[some] = torch.maximum(found[some], far.double())
    return found.clamp(min=torch.finfo(torch.double).tiny)


def _mask(near: Int[Tensor, "rows some"]) -> sparse.csr_array:
    """1 at the columns that each row names."""
    rows, some = near.shape
    starts = np.arange(0, rows * some + 1, some)
    ones = np.ones(rows * some)
    return sparse.csr_array((ones, near.reshape(-1).numpy(), starts), shape=(rows, rows))


def _reciprocal(near: Int[Tensor, "rows some"]) -> sparse.csr_array:
    mask = _mask(near)
    return sparse.csr_array(mask.multiply(mask.T))


def _weights(near: Int[Tensor, "rows some"], far: _Far, k1: int) -> sparse.csr_array:
    """Weights of the extended k-reciprocal neighbors of each row, whose sum is 1."""
    own, half = _reciprocal(near), _reciprocal(near[:, : round(k1 / 2) + 1])
    # A neighbor's neighbors are added where more than two thirds of them are among the own.
    shared = sparse.csr_array((own @ half.T).multiply(own)).tocoo()
    sizes = half.sum(axis=1)
    taken = shared.data * 3 > 2 * sizes[shared.col]
    chosen = (np.ones(taken.sum()), (shared.row[taken], shared.col[taken]))
    extended = (own + sparse.csr_array(chosen, shape=own.shape) @ half).tocoo()
    row, column = (torch.from_numpy(each.astype(np.int64)) for each in extended.coords)
    values = (-far.of(row, column)).exp().numpy()
    weights = sparse.csr_array((values, extended.coords), shape=own.shape)
    return sparse.csr_array(weights / weights.sum(axis=1)[:, None])
