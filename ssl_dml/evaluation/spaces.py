"""Rows whose Euclidean distances have the order of any metric."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.distances import Distance, Mahalanobis

PART = 8192  # rows in float64 at once


@final
class Space:
    """Maps rows such that the nearest by Euclidean distance are the nearest by the metric.

    Unit rows for the cosine; the linear map of a Mahalanobis distance, whose covariance is that of
    the gallery; and for the dot product one more dimension, which makes all gallery rows equally
    long. Each query has the right order of the gallery, but for ``dot`` distances of two queries
    do not compare.

    Args:
        gallery: Rows that are searched.
        metric: Which distance.

    References:
        Bachrach et al., 2014, Speeding up the Xbox recommender system (for the dot product).

    >>> gallery = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    >>> space = Space(gallery, "dot")
    >>> space.gallery(gallery).norm(dim=1)
    tensor([3., 3.], dtype=torch.float64)
    """

    def __init__(self, gallery: Float[Tensor, "rows dim"], metric: Distance) -> None:
        self._metric, self._root = metric, None
        if isinstance(metric, Mahalanobis):
            self._root = metric.linear_map(gallery).detach().double()
        self._longest = torch.zeros((), dtype=torch.double)
        self._center = torch.zeros(1, dtype=torch.double)
        parts = gallery.split(PART)
        if metric == "dot":
            lengths = [part.double().square().sum(dim=1).max() for part in parts]
            self._longest = torch.stack(lengths).max()
        elif metric != "cosine":  # distances do not change, and are rounded less
            sums = [self._mapped(part).sum(dim=0) for part in parts]
            self._center = torch.stack(sums).sum(dim=0) / len(gallery)

    def _mapped(self, rows: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
        rows = rows.double()
        if self._metric == "cosine":
            return F.normalize(rows, dim=1)
        return rows if self._root is None else rows @ self._root

    def gallery(self, rows: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows mapped"]:
        """Some rows of the gallery, in float64."""
        rows = self._mapped(rows) - self._center
        if self._metric != "dot":
            return rows
        lacking = (self._longest - rows.square().sum(dim=1, keepdim=True)).clamp(min=0)
        return torch.cat([rows, lacking.sqrt()], dim=1)

    def query(self, rows: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows mapped"]:
        """Some queries, in float64."""
        rows = self._mapped(rows) - self._center
        return F.pad(rows, (0, 1)) if self._metric == "dot" else rows

    def squared_lengths(
        self, gallery: Float[Tensor, "rows dim"], query: Float[Tensor, "queries dim"]
    ) -> tuple[float, float]:
        """The smallest and the largest squared length of any mapped row; zeros without rows."""
        sides = [(self.gallery, gallery)] + [(self.query, query)] * (query is not gallery)
        mapped = (of(part) for of, rows in sides for part in rows.split(PART) if len(part))
        ends = [part.square().sum(dim=1).aminmax() for part in mapped]
        if not ends:
            return 0.0, 0.0
        return float(min(least for least, _ in ends)), float(max(most for _, most in ends))
