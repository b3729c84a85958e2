"""Which samples are neighbors of too many others, and which of none."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.evaluation.search import nearest


@dataclass(frozen=True, kw_only=True)
class Neighborhood:
    """The nearest other rows of each row of a table.

    Args:
        rows: Neighbors from near to far.
        cosines: Their similarities.
    """

    rows: Int[Tensor, "rows k"]
    cosines: Float[Tensor, "rows k"]

    @property
    def occurrence(self) -> Int[Tensor, " rows"]:
        """Among the neighbors of how many others each row is; hubs have a large number.

        References:
            Radovanović et al., 2010, Hubs in Space, JMLR 11.
        """
        return self.rows.flatten().bincount(minlength=len(self.rows))

    @property
    def isolation(self) -> Float[Tensor, " rows"]:
        """1 minus the mean similarity to the neighbors: 0 for a copy, large for an outlier."""
        return 1 - self.cosines.mean(dim=1)

    @property
    def skewness(self) -> float:
        """Skewness of the occurrence: about 0 without hubs, above 1 with marked ones."""
        counts = self.occurrence.double()
        centered = counts - counts.mean()
        deviation = centered.square().mean().sqrt()
        return float((centered**3).mean() / deviation**3) if deviation > 0 else 0.0


def neighborhood(embeddings: Float[Tensor, "rows dim"], k: int) -> Neighborhood:
    """The ``k`` nearest other rows of each row by cosine, fewer if there are fewer.

    >>> near = neighborhood(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), 1)
    >>> near.rows[:, 0], near.occurrence
    (tensor([2, 2, 1]), tensor([0, 1, 2]))
    """
    k = min(k, len(embeddings) - 1)
    rows = torch.empty(len(embeddings), k, dtype=torch.long)
    for found, near in nearest(
        embeddings, None, torch.full((len(embeddings),), k), metric="cosine"
    ):
        rows[found] = near[:, :k]
    unit = F.normalize(embeddings.float(), dim=1)
    cosines = torch.stack([(unit * unit[column]).sum(dim=1) for column in rows.T], dim=1)
    return Neighborhood(rows=rows, cosines=cosines)
