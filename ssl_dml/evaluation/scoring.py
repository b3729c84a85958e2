"""How similar two rows are, on a scale that all pairs share."""

from collections.abc import Sequence
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.distances import Distance, Mahalanobis, distances

PART = 8192


@final
class Scoring:
    """Scores of pairs of rows, in float32: the cosine, the dot product, or minus the distance.

    Args:
        tables: All rows; the first give the covariance of a Mahalanobis distance.
        metric: Which distance.

    Attributes:
        low: No score is lower.
        high: No score is higher.

    >>> rows = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    >>> scoring = Scoring([rows], "cosine")
    >>> scoring.all(scoring.rows(rows), scoring.rows(rows)[1:])
    tensor([[0.6000],
            [1.0000]])
    """

    def __init__(self, tables: Sequence[Float[Tensor, "_ dim"]], metric: Distance) -> None:
        self._root, self._metric = None, metric
        if isinstance(metric, Mahalanobis):
            self._root = metric.linear_map(tables[0]).detach()
        self._product = metric in ("cosine", "dot")
        parts = [part for rows in tables for part in rows.split(PART)]
        self._center = torch.zeros(tables[0].shape[1])
        if not self._product:
            sums = [part.double().sum(dim=0) for part in parts]
            self._center = (torch.stack(sums).sum(dim=0) / sum(map(len, tables))).float()
        longest = max(float(self.rows(part).norm(dim=1).max()) for part in parts)
        self.high = 0.0 if not self._product else longest**2
        self.low = -(longest**2) if self._product else -2 * longest

    def rows(self, rows: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
        """Rows as they are compared."""
        rows = rows.float() - self._center
        if self._metric == "cosine":
            return F.normalize(rows, dim=1)
        return rows if self._root is None else rows @ self._root

    def all(
        self, rows: Float[Tensor, "rows dim"], others: Float[Tensor, "others dim"]
    ) -> Float[Tensor, "rows others"]:
        """Scores of each of these with each of those, as :meth:`rows` has them."""
        return rows @ others.T if self._product else -distances(rows, others)

    def pairs(
        self, rows: Float[Tensor, "pairs dim"], others: Float[Tensor, "pairs dim"]
    ) -> Float[Tensor, " pairs"]:
        """Scores of the first with the first, the second with the second, and so on."""
        if self._product:
            return (rows * others).sum(dim=1)
        return -(rows - others).norm(dim=1)
