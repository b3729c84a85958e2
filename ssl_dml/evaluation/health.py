"""Health of a representation without labels: does it use its dimensions, or has it collapsed?"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.evaluation.compute import Compute

ROWS = 2048
RANKS = slice(3, 100)  # eigenvalues that a power law is fitted to, as in the authors' code
NEAR = 0.9  # share of the ratios of distances that TwoNN keeps


def health(embeddings: Float[Tensor, "rows dim"]) -> dict[str, float]:
    r"""RankMe, uniformity and spread of up to 2,048 rows, evenly spaced.

    Returns:
        ``rankme``: the effective rank, :math:`\exp(-\sum p \log p)` of the normalized singular
        values, from 1 to ``min(rows, dim)``. ``uniformity``:
        :math:`\log E\, e^{-2 \lVert x - y \rVert^2}` of unit rows, in nats; 0 when all are equal,
        lower when they spread. ``spread``: mean standard deviation of the dimensions of unit rows,
        times the root of ``dim``; 1 when rows are spread over the sphere, 0 when collapsed.

    References:
        Garrido et al., 2023, arXiv:2210.02885; Wang and Isola, 2020, arXiv:2005.10242;
        Chen and He, 2021, arXiv:2011.10566, sec. 4.1.

    >>> {name: round(value, 3) for name, value in health(torch.eye(4)).items()}
    {'rankme': 4.0, 'uniformity': -4.0, 'spread': 1.0}
    """
    rows = embeddings[evenly_spaced(len(embeddings), ROWS)].double()
    unit = F.normalize(rows, dim=1)
    singular = torch.linalg.svdvals(rows)
    fraction = singular / singular.sum().clamp_min(1e-12) + 1e-7
    return {
        "rankme": (-(fraction * fraction.log()).sum()).exp().item(),
        "uniformity": (-2 * torch.pdist(unit).square()).exp().mean().log().item(),
        "spread": unit.std(dim=0).mean().item() * unit.shape[1] ** 0.5,
    }


def health_on(compute: Compute, embeddings: Float[Tensor, "rows dim"]) -> dict[str, float]:
    """:func:`health`, measured on the device if it has float64."""
    return health(embeddings[evenly_spaced(len(embeddings), ROWS)].to(compute.precise))


def evenly_spaced(count: int, most: int) -> Int[Tensor, " rows"]:
    """Up to ``most`` evenly spaced indices of ``count`` rows, with the first and the last.

    >>> evenly_spaced(9, 3)
    tensor([0, 4, 8])
    """
    return torch.linspace(0, count - 1, min(most, count)).round().long()


def alignment(first: Float[Tensor, "rows dim"], second: Float[Tensor, "rows dim"]) -> float:
    r"""Mean :math:`\lVert x - y \rVert^2` of unit embeddings of two views of a sample.

    It is 0 when views coincide and 2 when they are unrelated.

    References:
        Wang and Isola, 2020, arXiv:2005.10242.

    >>> alignment(torch.eye(2), torch.eye(2).flip(0))
    2.0
    """
    first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
    return (first - second).square().sum(dim=1).mean().item()


def alpha_req(embeddings: Float[Tensor, "rows dim"]) -> float:
    r"""How fast the eigenvalues of the covariance fall: :math:`\lambda_i \propto i^{-\alpha}`.

    It is about 1 in features that classify well; near 0 all directions are alike, and far above 1
    few of them matter. The line through the logarithms of eigenvalues 4 to 100 is weighted by
    1 / i. Of up to 2,048 rows, evenly spaced; 0 where fewer than six eigenvalues are above 0.

    References:
        Agrawal et al., 2022, alpha-ReQ, NeurIPS 35.

    >>> falling = torch.arange(1, 101).float() ** -0.75  # of the eigenvalues: twice that
    >>> axes = torch.linalg.qr(torch.randn(200, 101) - torch.tensor([1.0] + [0.0] * 100)).Q
    >>> rows = axes[:, 1:] - axes[:, 1:].mean(dim=0)
    >>> round(alpha_req(torch.linalg.qr(rows).Q * falling), 3)
    1.5
    """
    rows = embeddings[evenly_spaced(len(embeddings), ROWS)].double()
    variances = torch.linalg.svdvals(rows - rows.mean(dim=0)).square()
    variances = variances[variances > 1e-12 * variances.sum()]  # the others are rounding
    ranks = torch.arange(1, len(variances) + 1, dtype=torch.double)[RANKS]
    if len(ranks) < 3:  # noqa: PLR2004 - a line through two points fits always
        return 0.0
    x, y, weight = ranks.log(), variances[RANKS].log(), 1 / ranks / (1 / ranks).sum()
    x, y = x - (weight * x).sum(), y - (weight * y).sum()
    return -((weight * x * y).sum() / (weight * x * x).sum()).item()


def lidar(
    views: Float[Tensor, "samples views dim"], *, delta: float = 1e-4, epsilon: float = 1e-7
) -> float:
    r"""Rank of what tells samples apart, beside what tells views of one apart.

    With :math:`\Sigma_b` the covariance of the samples' means, :math:`\Sigma_w` that of views
    around the mean of their sample, and p the normalized eigenvalues of
    :math:`(\Sigma_w + \delta I)^{-1/2} \Sigma_b (\Sigma_w + \delta I)^{-1/2}`, it is
    :math:`\exp(-\sum p \log p)`: from 1 to the smaller of ``samples - 1`` and ``dim``. As delta is
    a variance in the unit of the embeddings, models of one scale alone can be compared.

    Args:
        views: Embeddings of two or more views of each sample.
        delta: Variance that is added in every direction.
        epsilon: Added to each p.

    References:
        Thilak et al., 2023, arXiv:2312.04000.

    >>> corners = torch.cat([torch.eye(4), -torch.eye(4)])
    >>> round(lidar(torch.stack([0.9 * corners, 1.1 * corners], dim=1)), 3)
    4.0
    """
    views = views.double()
    means = views.mean(dim=1)
    apart = means - means.mean(dim=0)
    around = (views - means[:, None]).flatten(0, 1)
    within = around.T @ around / len(around) + delta * torch.eye(views.shape[2]).double()
    values, vectors = torch.linalg.eigh(within)
    whitened = apart @ vectors / values.clamp_min(delta).sqrt()
    fraction = torch.linalg.svdvals(whitened).square()
    fraction = fraction / fraction.sum().clamp_min(1e-12) + epsilon
    return (-(fraction * fraction.log()).sum()).exp().item()


def intrinsic_dimension(near: Float[Tensor, "rows 2"]) -> float:
    r"""TwoNN: how many dimensions the data have around a row.

    The ratio :math:`\mu` of the distances to the second and the first neighbor has the
    distribution :math:`F = 1 - \mu^{-d}`, so d is the slope of :math:`-\log(1 - F)` over
    :math:`\log\mu`, here through the origin and without the tenth of largest ratios.

    Args:
        near: Distances of each row to its nearest and its second nearest neighbor; rows that have
            a copy are left out.

    Returns:
        The dimension; 0 where no row is left or all are as far from both.

    References:
        Facco et al., 2017, Scientific Reports 7, 12140.

    >>> ranks = torch.arange(1, 1001) / 1000  # ratios as in 5 dimensions
    >>> round(intrinsic_dimension(torch.stack([ranks, (1 - ranks + 1e-9) ** -0.2 * ranks], 1)), 3)
    5.0
    """
    near = near[near[:, 0] > 0].double()
    ratios = (near[:, 1] / near[:, 0]).log().sort().values
    kept = ratios[: int(NEAR * len(ratios))]
    tail = -(1 - torch.arange(1, len(kept) + 1).double() / max(1, len(ratios))).log()
    squares = kept.square().sum().item()
    return (kept * tail).sum().item() / squares if squares > 0 else 0.0
