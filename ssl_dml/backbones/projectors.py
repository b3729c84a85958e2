"""Projectors: small networks between a backbone and a loss."""

from typing import Literal

from torch import nn

from ssl_dml.checks import at_least


def mlp(
    in_dim: int,
    hidden_dim: int | None,
    out_dim: int,
    *,
    layers: int = 2,
    norm: Literal["hidden", "all", "none"] = "hidden",
) -> nn.Sequential:
    """Build a projector: linear layers with batch norm and ReLU between them.

    Two layers are the projector of SimCLR (Chen et al., 2020, arXiv:2002.05709, sec. 2.1); two
    without batch norm that of MoCo v2 (Chen et al., 2020, arXiv:2003.04297); one, a linear map,
    that of non-parametric instance discrimination (Wu et al., 2018, arXiv:1805.01978).

    >>> [type(layer).__name__ for layer in mlp(512, 512, 128)]
    ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']

    Args:
        in_dim: Dimension of a feature.
        hidden_dim: Dimension between layers; None for ``in_dim``.
        out_dim: Dimension of an embedding.
        layers: Number of linear layers.
        norm: Where batch norm follows: after the ``hidden`` layers; after ``all``, the last one
            without weight and bias (Chen et al., 2021, arXiv:2104.02057); or ``none``.
    """
    hidden_dim = in_dim if hidden_dim is None else hidden_dim
    at_least(1, layers=layers, hidden_dim=hidden_dim, output_dim=out_dim)
    steps: list[nn.Module] = []
    for _ in range(layers - 1):
        steps.append(nn.Linear(in_dim, hidden_dim, bias=norm == "none"))
        if norm != "none":
            steps.append(nn.BatchNorm1d(hidden_dim))
        steps.append(nn.ReLU(inplace=True))
        in_dim = hidden_dim
    if norm == "all":
        steps += [nn.Linear(in_dim, out_dim, bias=False), nn.BatchNorm1d(out_dim, affine=False)]
    else:
        steps.append(nn.Linear(in_dim, out_dim))
    return nn.Sequential(*steps)
