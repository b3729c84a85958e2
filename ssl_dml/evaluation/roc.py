"""Which pairs a threshold accepts: rates of true and false acceptance over all thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.checks import at_least


class AtFar(NamedTuple):
    """What the best threshold for a false acceptance rate gives.

    Attributes:
        tar: Fraction of genuine pairs that are accepted.
        threshold: Scores above it are accepted; minus infinity accepts all.
        far: Fraction of impostor pairs that are.
    """

    tar: float
    threshold: float
    far: float


@dataclass(frozen=True, kw_only=True)
class Roc:
    """Numbers of pairs at each score, from the lowest on.

    >>> roc = Roc.of(torch.tensor([0.875, 0.5]), torch.tensor([0.75, 0.25]))
    >>> roc.auc(), roc.eer(), roc.at_far(0.0)
    (0.75, 0.5, AtFar(tar=0.5, threshold=0.75, far=0.0))

    Args:
        scores: Different scores, ascending; higher is more similar.
        genuine: Pairs of one identity with each score.
        impostors: Pairs of two identities with each score.
    """

    scores: Float[Tensor, " scores"]
    genuine: Int[Tensor, " scores"]
    impostors: Int[Tensor, " scores"]

    def __post_init__(self) -> None:
        counts = {"genuine": self.genuine.sum(), "impostors": self.impostors.sum()}
        for name, count in counts.items():
            if not count:
                other = "one identity" if name == "genuine" else "two identities"
                raise ValueError(f"verification needs pairs of {other}, and there are none")

    @classmethod
    def of(cls, genuine: Float[Tensor, " some"], impostors: Float[Tensor, " others"]) -> "Roc":
        """From the score of each pair."""
        scores, own = torch.cat([genuine, impostors]).double().unique(return_inverse=True)
        counts = [
            torch.bincount(part, minlength=len(scores))
            for part in own.split([len(genuine), len(impostors)])
        ]
        return cls(scores=scores, genuine=counts[0], impostors=counts[1])

    def points(self) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"]]:
        """False and true acceptance rates, from none accepted to all."""
        far, tar = (_accepted(one) / one.sum() for one in (self.impostors, self.genuine))
        return far, tar

    def auc(self) -> float:
        """Chance that a genuine pair has a higher score than an impostor; equal ones count half."""
        far, tar = self.points()
        return torch.trapezoid(tar, far).item()

    def eer(self) -> float:
        """The error rate where false acceptance and false rejection are equal, interpolated."""
        far, tar = self.points()
        return equal_error(far[None], tar[None]).item()

    def at_far(self, target: float) -> AtFar:
        """The largest true acceptance rate with a false acceptance rate not above the target."""
        far, tar = self.points()
        place = int((far <= target).sum()) - 1  # rates rise
        left = len(self.scores) - place  # scores that are not accepted
        threshold = self.scores[left - 1].item() if left else -torch.inf
        return AtFar(tar[place].item(), threshold, far[place].item())

    def measurable(self, target: float) -> bool:
        """Whether there are so many impostors that one of them alone is not above the target."""
        return int(self.impostors.sum()) * target >= 1 - 1e-9


def _accepted(counts: Int[Tensor, " scores"]) -> Float[Tensor, " points"]:
    """How many pairs are accepted when 0, 1, ... of the highest scores are."""
    return torch.cat([counts.new_zeros(1), counts.flip(0).cumsum(dim=0)]).double()


def equal_error(
    far: Float[Tensor, "curves points"], tar: Float[Tensor, "curves points"]
) -> Float[Tensor, " curves"]:
    """Where the line between the points of each curve has equal error rates; both rates rise."""
    over = far + tar - 1  # false acceptance less false rejection
    place = (over >= 0).double().argmax(dim=1, keepdim=True).clamp(min=1)
    (low, high), (first, last) = (
        (values.gather(1, place - 1), values.gather(1, place)) for values in (over, far)
    )
    part = torch.where(high > low, -low / (high - low), 0.0).clamp(0, 1)
    return (first + part * (last - first))[:, 0]


def best_threshold(scores: Float[Tensor, " pairs"], same: Bool[Tensor, " pairs"]) -> float:
    """The highest of the scores from which acceptance has the fewest errors.

    >>> best_threshold(torch.tensor([0.75, 0.5, 0.25]), torch.tensor([True, False, True]))
    0.75
    """
    at_least(1, pairs=len(scores))
    ordered, order = scores.sort(descending=True, stable=True)
    right = torch.where(same[order], 1, -1).cumsum(dim=0)
    last = torch.cat([ordered[1:] < ordered[:-1], torch.ones(1, dtype=torch.bool)])  # of equals
    best = torch.where(last, right, right.min() - 1).argmax()
    return ordered[best].item() if right[best] > 0 else torch.inf


def by_folds(
    scores: Float[Tensor, " pairs"], same: Bool[Tensor, " pairs"], folds: Sequence[int]
) -> tuple[Bool[Tensor, " pairs"], list[float]]:
    """Whether each pair is told right by the threshold of the other folds, and these thresholds.

    References:
        Huang et al., 2007, Labeled Faces in the Wild, sec. 4 (view 2).

    >>> scores, same = torch.tensor([0.9, 0.1, 0.8, 0.3]), torch.tensor([True, False, True, False])
    >>> right, thresholds = by_folds(scores, same, [0, 0, 1, 1])
    >>> right.tolist(), [round(one, 2) for one in thresholds]
    ([True, True, False, True], [0.8, 0.9])
    """
    right, thresholds, number = torch.empty_like(same), list[float](), torch.tensor(folds)
    for fold in number.unique():
        own = number == fold
        thresholds.append(best_threshold(scores[~own], same[~own]))
        right[own] = (scores[own] >= thresholds[-1]) == same[own]
    return right, thresholds
