"""Scores of all pairs of rows, counted and never held."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.evaluation.pair_counts import Counts, places_of
from ssl_dml.evaluation.roc import Roc
from ssl_dml.evaluation.scoring import Scoring
from ssl_dml.tables import EmbeddingTable

BINS = 2**18  # of all scores; cosines are rounded by 2**-17, 8e-6
SIDES = 1024, 2048  # rows that are compared at once

Histogram = Int[Tensor, " bins"]


@dataclass(frozen=True, kw_only=True)
class AllPairs:
    """All pairs of the rows of a table, or of one table's rows with another's.

    Args:
        scoring: How similar two rows are.
        one: A table.
        two: Another; None for the same, of which each pair counts once.
        groups: Group of each row of both, by its identity.
        count: Number of groups.
    """

    scoring: Scoring
    one: EmbeddingTable
    two: EmbeddingTable | None
    groups: tuple[Int[Tensor, " rows"], Int[Tensor, " others"]]
    count: int

    def counted(self) -> tuple[Roc, Counts]:
        """Numbers of pairs at each score, all together and by groups.

        Scores are rounded up to one of ``BINS`` values. Genuine pairs are of one group, so these
        are looked at first, to see where counts are of interest.
        """
        whole = torch.zeros(BINS, dtype=torch.long)
        for group in range(self.count):
            whole += self._block(group, group)[0]
        wanted = places_of(int(whole.sum()))
        edges = torch.searchsorted(whole.cumsum(dim=0), wanted, right=True)
        edges = torch.cat([torch.zeros(1, dtype=torch.long), edges]).unique()
        genuine = torch.zeros(self.count, len(edges), dtype=torch.double)
        impostors = torch.zeros(self.count, self.count, len(edges), dtype=torch.double)
        others = torch.zeros(BINS, dtype=torch.long)
        for group in range(self.count):
            for other in range(0 if self.two is not None else group, self.count):
                same, apart = self._block(group, other)
                others += apart
                impostors[group, other] = _from_each(apart, edges)
                if group == other:
                    genuine[group] = _from_each(same, edges)
        scoring, known = self.scoring, ((whole + others) > 0).nonzero()[:, 0]
        width = (scoring.high - scoring.low) / BINS
        scores = scoring.low + width * (known + 1).double()
        roc = Roc(scores=scores, genuine=whole[known], impostors=others[known])
        return roc, Counts(genuine=genuine, impostors=impostors)

    def _block(self, group: int, other: int) -> tuple[Histogram, Histogram]:
        """How many genuine and impostor pairs of two groups have each score."""
        same, apart = (torch.zeros(BINS, dtype=torch.long) for _ in range(2))
        for bins, alike, counted in self._tiles(group, other):
            if group != other:
                apart += torch.bincount(bins.view(-1), minlength=BINS)
                continue
            same += torch.bincount(bins[alike & counted], minlength=BINS)
            apart += torch.bincount(bins[~alike & counted], minlength=BINS)
        return same, apart

    def _tiles(
        self, group: int, other: int
    ) -> Iterator[tuple[Int[Tensor, "rows others"], Bool[Tensor, "rows others"], Tensor]]:
        """Bins of pairs, whether these are of one identity, and whether they count."""
        two, scoring = self.one if self.two is None else self.two, self.scoring
        rows, others = (
            (numbers == wanted).nonzero()[:, 0]
            for numbers, wanted in zip(self.groups, (group, other), strict=True)
        )
        scale = BINS / (scoring.high - scoring.low)
        for own in rows.split(SIDES[0]):
            mine, labels = scoring.rows(self.one.embeddings[own]), self.one.labels[own]
            for far in others.split(SIDES[1]):
                scores = scoring.all(mine, scoring.rows(two.embeddings[far]))
                bins = scores.sub_(scoring.low).mul_(scale).clamp_(0, BINS - 1).int()
                alike = labels[:, None] == two.labels[far]
                counted = own[:, None] < far if self.two is None else torch.ones_like(alike)
                yield bins, alike, counted


def _from_each(counts: Histogram, edges: Int[Tensor, " edges"]) -> Float[Tensor, " edges"]:
    """How many are in the bin of each edge and beyond."""
    before = counts.cumsum(dim=0)[edges] - counts[edges]
    return (counts.sum() - before).double()
