"""Numbers of accepted pairs by groups of identities, and intervals from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.evaluation.bootstrap import percentiles
from ssl_dml.evaluation.pairs import PairList
from ssl_dml.evaluation.roc import equal_error

GROUPS = 64  # of identities, which are resampled whole
EDGES = 1024  # scores at which groups are counted


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many pairs are accepted, of each group or pair of groups.

    Args:
        genuine: From each edge on, by group of the identity.
        impostors: From each edge on, by group of the first identity and of the second.
    """

    genuine: Float[Tensor, "groups edges"]
    impostors: Float[Tensor, "groups others edges"]

    def intervals(
        self, fars: Sequence[float], *, confidence: float, draws: int = 500, seed: int = 0
    ) -> Mapping[str | float, tuple[float, float]]:
        """Ends of the interval of ``auc``, of ``eer``, and of the true acceptance rate at each FAR.

        Each draw takes as many groups of identities with replacement as there are. A pair of two
        identities counts as often as both were drawn, so that what pairs share is not taken for
        independent.
        """
        weights = drawn_weights(len(self.genuine), draws, seed)
        genuine = weights @ self.genuine
        impostors = weighted(self.impostors.flatten(0, 1), weights)
        tar, far = (one.flip(1) / one[:, :1] for one in (genuine, impostors))
        gained = tar.diff(dim=1, prepend=torch.zeros(draws, 1, dtype=torch.double))
        found: dict[str | float, Tensor] = {
            "auc": (gained * (1 - far)).sum(dim=1),
            "eer": equal_error(far, tar),
        }
        found |= rates_at(tar, far, fars)
        count = len(self.genuine)
        return {name: percentiles(each, count, confidence) for name, each in found.items()}


def rates_at(
    tar: Float[Tensor, "draws points"], far: Float[Tensor, "draws points"], fars: Sequence[float]
) -> dict[float, Float[Tensor, " draws"]]:
    """The largest true acceptance rate of each draw with a false one not above each of these."""
    tar = F.pad(tar, (1, 0))
    return {
        target: tar.gather(1, (far <= target).sum(dim=1, keepdim=True))[:, 0] for target in fars
    }


def drawn_weights(groups: int, draws: int, seed: int) -> Float[Tensor, "draws groups"]:
    """How often each group is in each draw of as many."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(groups, (draws, groups), generator=generator)
    ones = torch.ones(draws, groups, dtype=torch.double)
    return torch.zeros_like(ones).scatter_add_(1, chosen, ones)


def weighted(
    blocks: Float[Tensor, "blocks values"], weights: Float[Tensor, "draws groups"]
) -> Float[Tensor, "draws values"]:
    """Sums over pairs of groups, each as often as both were drawn; within one, as often as it."""
    both = weights[:, :, None] * weights[:, None, :]
    both.diagonal(dim1=1, dim2=2).copy_(weights)
    return both.flatten(1) @ blocks


def groups_of(labels: Int[Tensor, " rows"], *, seed: int = 0) -> tuple[Int[Tensor, " rows"], int]:
    """The group of each row, the same for all rows of an identity, and how many there are."""
    identities, own = labels.unique(return_inverse=True)
    count = min(GROUPS, len(identities))
    order = torch.randperm(len(identities), generator=torch.Generator().manual_seed(seed))
    return (order % count)[own], count


def edges_of(genuine: Float[Tensor, " pairs"]) -> Float[Tensor, " edges"]:
    """Scores at which groups are counted; the lowest is below all pairs."""
    ordered = genuine.sort().values
    return torch.cat([ordered.new_tensor([-torch.inf]), ordered[places_of(len(ordered))].unique()])


def places_of(count: int) -> Int[Tensor, " places"]:
    """Which of so many scores, in ascending order, are edges: all, or ``EDGES`` at most.

    Half of them are evenly spaced, and half by the logarithm of the rank from the highest, so
    that low rates of acceptance are told apart too.

    >>> places_of(5)
    tensor([0, 1, 2, 3, 4])
    """
    if count <= EDGES:
        return torch.arange(count)
    even = torch.linspace(0, count - 1, EDGES // 2, dtype=torch.double)
    ranks = torch.logspace(0, math.log10(count), EDGES // 2, dtype=torch.double)
    return torch.cat([even, count - ranks]).round().long().clamp(0, count - 1).unique()


def count_listed(
    scores: Float[Tensor, " pairs"], pairs: PairList, groups: Int[Tensor, " rows"], count: int
) -> Counts:
    """Counts of pairs whose scores are held."""
    edges = edges_of(scores[pairs.same])
    size, bins = len(edges), torch.searchsorted(edges, scores, right=True) - 1
    one, two = groups[pairs.first], groups[pairs.second]
    same = pairs.same
    genuine = torch.bincount((one * size + bins)[same], minlength=count * size)
    block = (one * count + two) * size + bins
    impostors = torch.bincount(block[~same], minlength=count**2 * size)
    return Counts(
        genuine=from_each(genuine.view(count, size)),
        impostors=from_each(impostors.view(count, count, size)),
    )


def from_each(counts: Int[Tensor, "*groups edges"]) -> Float[Tensor, "*groups edges"]:
    """How many are at each edge or beyond."""
    return counts.flip(-1).cumsum(dim=-1).flip(-1).double()
