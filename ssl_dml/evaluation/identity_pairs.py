"""Cosines of all pairs of rows by the identities of the two, a tile at a time."""

from collections.abc import Iterator
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float, Int

from ssl_dml.checks import at_least
from ssl_dml.tables import EmbeddingTable

BINS = 2**15  # of cosines
EDGES = np.linspace(-1, 1, BINS + 1)
TILE = 1024  # rows of a block of whole identities, or those of one
MOST = 256  # samples of an identity that count; more are drawn at random


class Rates(NamedTuple):
    """What is accepted from some cosine on, where each pair of identities weighs the same.

    Attributes:
        share: False acceptance rate: mean over all pairs of two identities.
        square: Mean over these of the squared share of their pairs of samples.
        of: False acceptance rate of each identity, against all others.
        own: True acceptance rate of each identity that has two samples.
    """

    share: float
    square: float
    of: Float[np.ndarray, " identities"]
    own: Float[np.ndarray, " several"]


class Histograms(NamedTuple):
    """How often pairs have a cosine, by the folds of their identities.

    Attributes:
        same: Of two samples of one identity; each identity weighs 1.
        other: Of two identities, of which each pair weighs 1.
    """

    same: Float[np.ndarray, "folds bins"]
    other: Float[np.ndarray, "folds folds bins"]


@final
class IdentityPairs:
    """All pairs of rows of a table, compared anew for each question; none of them is held.

    Args:
        table: Labeled rows; each class is an identity.
        folds: Parts that the identities are divided into at random.
        seed: Of the folds, and of the samples of identities with more than :data:`MOST`.

    Attributes:
        identities: How many there are.
        sample_pairs: Number of pairs of samples of different identities.
    """

    def __init__(self, table: EmbeddingTable, *, folds: int = 5, seed: int = 0) -> None:
        at_least(2, folds=folds)
        generator = np.random.default_rng(seed)
        labels = np.unique(table.labels.numpy(), return_inverse=True)[1]
        order = generator.permutation(len(labels))  # so that the first MOST are drawn at random
        order = order[np.argsort(labels[order], kind="stable")]
        counts = np.bincount(labels)
        place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        order = order[place < MOST]
        self.identities, self.folds = len(counts), folds
        fold = generator.permutation(self.identities) % folds
        order = order[np.argsort(fold[labels[order]], kind="stable")]
        found = table.embeddings.numpy()[order].astype(np.float32)
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        self._rows = found
        starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
        self._starts = np.append(starts, len(order))
        self._counts = np.diff(self._starts)
        self._fold = fold[labels[order][starts]]
        self._blocks = list(self._packed())
        total = float(len(order))
        self.sample_pairs = (total**2 - float((self._counts.astype(float) ** 2).sum())) / 2

    def _packed(self) -> Iterator[slice]:
        """Identities whose rows are compared at once, all of one fold."""
        first = 0
        for i in range(1, self.identities + 1):
            last = i == self.identities
            if last or self._fold[i] != self._fold[first] or self._size(first, i + 1) > TILE:
                yield slice(first, i)
                first = i

    def _size(self, first: int, last: int) -> int:
        return int(self._starts[last] - self._starts[first])

    def _block(self, block: slice) -> tuple[Float[np.ndarray, "rows dim"], Int[np.ndarray, " own"]]:
        """Rows of some identities, and whose each is."""
        rows = self._rows[self._starts[block.start] : self._starts[block.stop]]
        return rows, np.repeat(np.arange(block.start, block.stop), self._counts[block])

    def histograms(self) -> Histograms:
        """How often pairs have a cosine in each bin between :data:`EDGES`."""
        same = np.zeros((self.folds, BINS))
        other = np.zeros((self.folds, self.folds, BINS))
        for i, a in enumerate(self._blocks):
            for b in self._blocks[i:]:
                (rows, one), (columns, two) = self._block(a), self._block(b)
                cosines = rows @ columns.T
                bins = ((cosines + 1) * (BINS / 2)).astype(np.intp).clip(0, BINS - 1)
                weights = np.outer(1 / self._counts[one], 1 / self._counts[two])
                fold, second = sorted((self._fold[a.start], self._fold[b.start]))
                if a == b:
                    above = np.triu(np.ones(bins.shape, np.bool_), 1)
                    own = above & (one[:, None] == two)
                    count = self._counts[one[own.nonzero()[0]]]
                    same[fold] += _histogram(bins[own], 2 / (count * (count - 1.0)))
                    bins, weights = (values[above & ~own] for values in (bins, weights))
                other[fold, second] += _histogram(bins, weights)
        return Histograms(same, other)

    def rates(self, cosine: float) -> Rates:
        """What is accepted if pairs with this cosine or a higher one are."""
        of, own = np.zeros(self.identities), np.full(self.identities, np.nan)
        squares = 0.0
        for i, a in enumerate(self._blocks):
            for b in self._blocks[i:]:
                (rows, one), (columns, two) = self._block(a), self._block(b)
                accepted = np.flatnonzero(rows @ columns.T >= cosine)  # few are
                row, column = np.divmod(accepted, len(columns))
                size = b.stop - b.start
                places = (one[row] - a.start) * size + two[column] - b.start
                found = np.bincount(places, minlength=(a.stop - a.start) * size).reshape(-1, size)
                shares = found / np.outer(self._counts[a], self._counts[b])
                if a == b:
                    count = self._counts[a].astype(float)
                    pairs = np.where(count > 1, count * (count - 1), np.nan)
                    own[a] = (np.diag(found) - count) / pairs
                    np.fill_diagonal(shares, 0)
                    squares -= (shares**2).sum() / 2
                else:
                    of[b] += shares.sum(0)
                of[a] += shares.sum(1)
                squares += (shares**2).sum()
        all_pairs = self.identities * (self.identities - 1) / 2
        return Rates(
            share=float(of.sum() / 2 / all_pairs),
            square=float(squares / all_pairs),
            of=of / (self.identities - 1),
            own=own[~np.isnan(own)],
        )


def _histogram(
    bins: Int[np.ndarray, "..."], weights: Float[np.ndarray, "..."]
) -> Float[np.ndarray, " bins"]:
    found = np.bincount(bins.ravel(), weights.ravel(), minlength=BINS)
    return found.astype(float)  # of no pair it is of integers
