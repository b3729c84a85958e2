"""How similar samples of a class are to each other and to those of other classes."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.checks import at_least

BINS = 50
POINTS = 200  # of a curve


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Cosines of all pairs of rows, each once.

    Args:
        same: Those of pairs of one class, ascending.
        other: Those of pairs of two classes, ascending.
    """

    same: Float[Tensor, " positives"]
    other: Float[Tensor, " negatives"]

    def histogram(
        self, bins: int = BINS
    ) -> tuple[Float[Tensor, " edges"], Float[Tensor, " bins"], Float[Tensor, " bins"]]:
        """Edges of bins, and which share of the pairs of one class, and of others, is in each."""
        at_least(1, bins=bins)
        low = min(float(part[0]) for part in (self.same, self.other) if len(part))
        edges = torch.linspace(min(low, 0.999), 1.0, bins + 1)
        same, other = (
            torch.histogram(part.clamp(max=1.0), edges).hist / max(1, len(part))
            for part in (self.same, self.other)
        )
        return edges, same, other

    def auc(self) -> float:
        """Chance that a pair of one class is more similar than one of two; ties count half."""
        below, until = (
            torch.searchsorted(self.other, self.same, right=right).double().mean()
            for right in (False, True)
        )
        return float((below + until) / 2 / len(self.other))

    def roc(
        self, points: int = POINTS
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"], Float[Tensor, " points"]]:
        """False and true accept rates, and the cosine from which pairs are accepted.

        The false accept rates are from 1e-4, or one pair, to 1, evenly spaced as logarithms.
        """
        lowest = max(1e-4, 1 / len(self.other))
        wanted = torch.logspace(torch.tensor(lowest).log10().item(), 0, points)
        place = (len(self.other) - (wanted * len(self.other)).round().long()).clamp(min=0)
        thresholds = self.other[place.clamp(max=len(self.other) - 1)]
        false, true = (
            1 - torch.searchsorted(part, thresholds) / len(part) for part in (self.other, self.same)
        )
        return false, true, thresholds


def pairs(embeddings: Float[Tensor, "rows dim"], labels: Int[Tensor, " rows"]) -> Pairs:
    """Cosines of all pairs of rows; memory grows with the square of the rows.

    >>> found = pairs(torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]))
    >>> found.same, found.other, found.auc()
    (tensor([0.6000]), tensor([0.0000, 0.8000]), 0.5)
    """
    unit = F.normalize(embeddings.float(), dim=1)
    first, second = torch.triu_indices(len(unit), len(unit), offset=1)
    cosines, same = (unit @ unit.T)[first, second], labels[first] == labels[second]
    return Pairs(same=cosines[same].sort().values, other=cosines[~same].sort().values)
