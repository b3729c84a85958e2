"""Whether new samples are like those of training: one permutation test of four statistics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.checks import at_least
from ssl_dml.evaluation.clustering import kmeans

BANDWIDTHS = (2.0, 1.0, 0.5, 0.25)  # of the kernels, in median distances; each half of the last
INSIDE = 0.99  # fraction of the reference within the radius
NEAR = 16  # neighbors of a row, of which some are new
CLUSTERS, ROWS_EACH = 100, 20  # most clusters, and fewest rows of the average one
FEWEST = 8  # rows of either side


class Statistic(NamedTuple):
    """One statistic, and how often labels drawn at random give as much.

    Attributes:
        value: As it was observed.
        p: Its own p-value, not corrected for the other statistics.
    """

    value: float
    p: float


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster of reference and new rows together.

    Args:
        reference: Fraction of the reference rows in it.
        new: Fraction of the new rows in it.
        p: Corrected for the number of clusters.
        nearest_reference: Reference row nearest to its center.
        nearest_new: New row nearest to its center.
    """

    reference: float
    new: float
    p: float
    nearest_reference: int
    nearest_new: int


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How new rows differ from reference rows.

    Args:
        p: Of all four statistics together; below a level, the rows differ at that level.
        kernel: Squared maximum mean discrepancy, 0 for equal distributions.
        outside: Fraction of new rows farther than ``radius`` from every reference row, which is
            0.01 for the reference itself.
        company: How much more often than by chance new rows are near each other: mean over new
            rows of the squared excess of new ones among their 16 neighbors, in standard errors.
        growth: Largest growth of a cluster, in standard errors.
        radius: 99th percentile of a reference row's distance to the nearest other one.
        clusters: From the one that grew most.
        distances: Of each new row to the nearest reference row, as the root of 2 - 2 cosine.
        nearest: That reference row.
    """

    p: float
    kernel: Statistic
    outside: Statistic
    company: Statistic
    growth: Statistic
    radius: float
    clusters: Sequence[Cluster]
    distances: Float[Tensor, " new"]
    nearest: Int[Tensor, " new"]


def shift(
    reference: Float[Tensor, "reference dim"],
    new: Float[Tensor, "new dim"],
    *,
    draws: int = 999,
    seed: int = 0,
) -> Shift:
    r"""Test whether two sets of embeddings are of one distribution, by permutation.

    Rows are compared by cosine. Four statistics are each compared with those of the same rows
    whose labels, reference or new, are drawn again: the squared maximum mean discrepancy of
    Gaussian kernels of four bandwidths around the median distance, without bias; the fraction of
    new rows outside the reference radius; the excess of new rows among the neighbors of new rows;
    the largest growth of a k-means cluster of all rows.
    Their excesses over their means, in standard deviations, are squared and added up, and the sum
    is compared with that of each draw. So a test of level a raises a false alarm in a fraction a
    of all cases, whatever the distribution, as long as rows are independent of each other.

    It holds all pairs: give at most a few thousand rows.

    Args:
        reference: Rows of training.
        new: Rows to compare with them.
        draws: Draws of labels; the smallest p-value is 1 / (draws + 1).
        seed: Of draws and clusters.

    Raises:
        ValueError: If there are fewer than 8 rows on a side.

    References:
        Gretton et al., 2012, A Kernel Two-Sample Test, JMLR 13, eq. 3; Schilling, 1986,
        Multivariate Two-Sample Tests Based on Nearest Neighbors (the excess is squared here, so
        that a few rows of a kind count); Pesarin and Salmaso, 2010, Permutation Tests for Complex
        Data, ch. 4 (nonparametric combination).

    >>> rows = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    >>> shift(rows[:100], rows[100:]).p > 0.05
    True
    >>> shift(rows[:100], rows[100:] + 1).p < 0.01
    True
    """
    at_least(1, draws=draws)
    at_least(FEWEST, reference=len(reference), new=len(new))
    rows = F.normalize(torch.cat([reference, new]).float(), dim=1)
    labels = _labels(len(reference), len(new), draws, seed)
    squares = (2 - 2 * rows @ rows.T).clamp_min_(0)
    squares.fill_diagonal_(torch.inf)
    near = squares.topk(min(NEAR, len(squares) - 1), largest=False)
    distances, nearest = _to_reference(squares, near, labels)
    radii, outside = _outside(distances, labels)
    groups, centers = _clustered(rows, seed)
    grown = _growth(groups, len(centers), labels)
    growth = grown.amax(1)
    company = _company(near.indices, labels)
    tests = torch.stack([_discrepancies(squares, labels), outside, company, growth]).double()
    fractions = _p_values(tests)
    deviations = (tests - tests.mean(1, keepdim=True)) / tests.std(1, keepdim=True).clamp_min(1e-12)
    together = deviations.clamp_min(0).square().sum(0)
    statistics = [
        Statistic(float(t[0]), float(p[0])) for t, p in zip(tests, fractions, strict=True)
    ]
    split = rows.split([len(reference), len(new)])
    return Shift(
        p=float(_p_values(together[None])[0, 0]),
        kernel=statistics[0],
        outside=statistics[1],
        company=statistics[2],
        growth=statistics[3],
        radius=float(radii[0]),
        clusters=_described(groups, centers, grown, labels[0], split),
        distances=distances[0, len(reference) :],
        nearest=nearest[len(reference) :],
    )


def _labels(reference: int, new: int, draws: int, seed: int) -> Bool[Tensor, "draws rows"]:
    """Which rows are new: as observed, then in each draw."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(draws, reference + new, generator=generator).argsort(1) >= reference
    return torch.cat([torch.arange(reference + new)[None] >= reference, drawn])


def _p_values(statistics: Float[Tensor, "tests draws"]) -> Float[Tensor, "tests draws"]:
    """Fraction of draws with at least as large a value, of each draw.

    >>> _p_values(torch.tensor([[3.0, 1.0, 2.0, 2.0]]))
    tensor([[0.2500, 1.0000, 0.7500, 0.7500]], dtype=torch.float64)
    """
    count = statistics.shape[1]
    larger = count - torch.searchsorted(statistics.sort(1).values, statistics)
    return larger.double() / count


def _discrepancies(
    squares: Float[Tensor, "rows rows"], labels: Bool[Tensor, "draws rows"]
) -> Float[Tensor, " draws"]:
    """Squared maximum mean discrepancy without bias (Gretton et al., 2012, eq. 3)."""
    count = len(squares) * (len(squares) - 1)  # pairs; the diagonal is infinite
    median = squares.flatten().kthvalue((count + 1) // 2).values.clamp_min(1e-12)
    term = (squares / (-2 * BANDWIDTHS[0] ** 2 * median)).exp_()
    kernel = term.clone()
    for _ in BANDWIDTHS[1:]:
        kernel += term.square_().square_()
    kernel /= len(BANDWIDTHS)
    mine = labels.float()  # the diagonal of the kernel is 0
    new, rows = int(labels[0].sum()), labels.shape[1]
    old, sums = rows - new, kernel.double().sum(1)
    within = ((mine @ kernel) * mine).double().sum(1)
    across = mine.double() @ sums - within
    rest = sums.sum() - within - 2 * across
    return within / (new * (new - 1)) + rest / (old * (old - 1)) - 2 * across / (new * old)


def _to_reference(
    squares: Float[Tensor, "rows rows"],
    near: torch.return_types.topk,
    labels: Bool[Tensor, "draws rows"],
) -> tuple[Float[Tensor, "draws rows"], Int[Tensor, " rows"]]:
    """Distance of each row to the nearest other reference row, and which it is as observed.

    It is looked for among the nearest rows first.
    """
    found, place = torch.empty(labels.shape), torch.zeros(labels.shape, dtype=torch.long)
    missing = torch.ones_like(labels)
    for values, rows in zip(near.values.T, near.indices.T, strict=True):
        hit = missing & ~labels[:, rows]
        found, place = torch.where(hit, values, found), torch.where(hit, rows, place)
        missing &= ~hit
        if not missing.any():
            break
    for draw in missing.any(1).nonzero()[:, 0].tolist():  # a clump of new rows, as observed
        own = missing[draw]
        others = squares[own].masked_fill(labels[draw], torch.inf).min(1)
        found[draw, own], place[draw, own] = others.values, others.indices
    return found.sqrt(), place[0]


def _company(
    near: Int[Tensor, "rows near"], labels: Bool[Tensor, "draws rows"]
) -> Float[Tensor, " draws"]:
    """Mean over new rows of the squared excess of new rows among their neighbors."""
    new, rows = int(labels[0].sum()), labels.shape[1]
    found, share = torch.zeros(labels.shape), new / rows
    for each in near.T:
        found += labels[:, each]
    error = (near.shape[1] * share * (1 - share)) ** 0.5
    excess = ((found - near.shape[1] * share) / error).clamp_min_(0)
    return (excess.square_() * labels).sum(1) / new


def _outside(
    distances: Float[Tensor, "draws rows"], labels: Bool[Tensor, "draws rows"]
) -> tuple[Float[Tensor, " draws"], Float[Tensor, " draws"]]:
    """Radius of the reference, and the fraction of new rows that are farther away."""
    own = distances[~labels].view(len(labels), -1)
    radii = own.kthvalue(min(own.shape[1], int(INSIDE * own.shape[1]) + 1), dim=1).values
    new = distances[labels].view(len(labels), -1)
    return radii, (new > radii[:, None]).double().mean(1)


def _clustered(
    rows: Float[Tensor, "rows dim"], seed: int
) -> tuple[Int[Tensor, " rows"], Float[Tensor, "clusters dim"]]:
    """Cluster of each row, by k-means of all rows whatever their label, and the centers."""
    count = max(1, min(CLUSTERS, len(rows) // ROWS_EACH))
    groups = kmeans(rows, count, iterations=20, seed=seed)
    sums = rows.new_zeros(count, rows.shape[1]).index_add_(0, groups, rows)
    return groups, F.normalize(sums, dim=1)


def _growth(
    groups: Int[Tensor, " rows"], count: int, labels: Bool[Tensor, "draws rows"]
) -> Float[Tensor, "draws clusters"]:
    """Share of each cluster among new rows less that among others, in standard errors."""
    member = F.one_hot(groups, count).float()
    new, rows = int(labels[0].sum()), len(groups)
    inside_new = labels.float() @ member
    change = inside_new / new - (member.sum(0) - inside_new) / (rows - new)
    share = member.mean(0)
    error = (share * (1 - share) * (1 / new + 1 / (rows - new))).sqrt()
    return change / error.clamp_min(1e-12)


def _described(
    groups: Int[Tensor, " rows"],
    centers: Float[Tensor, "clusters dim"],
    grown: Float[Tensor, "draws clusters"],
    labels: Bool[Tensor, " rows"],
    rows: Sequence[Float[Tensor, "_ dim"]],
) -> list[Cluster]:
    """The clusters, from the one that grew most."""
    largest = grown.amax(1)
    reference, new = (torch.cdist(centers, part).argmin(1).tolist() for part in rows)
    found = list[Cluster]()
    for i in grown[0].argsort(descending=True).tolist():
        inside_, p = groups == i, (largest >= grown[0, i]).double().mean()
        found.append(
            Cluster(
                reference=float(inside_[~labels].double().mean()),
                new=float(inside_[labels].double().mean()),
                p=float(p),
                nearest_reference=reference[i],
                nearest_new=new[i],
            )
        )
    return found
