"""Whitening: a linear map, learned without labels, after which features vary alike everywhere."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.backbones.adapters import without_adapters
from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.embedder import Embedder
from ssl_dml.checks import at_least
from ssl_dml.distributed import whole

NEGLIGIBLE = 1e-6  # variance relative to the largest, which is rounding
RIDGE = 0.03


def whitening(
    features: Float[Tensor, "rows dim"],
    dims: int,
    views: Float[Tensor, "others 2 dim"] | None = None,
) -> tuple[Float[Tensor, "kept dim"], Float[Tensor, " kept"]]:
    r"""The map after which no direction counts more than others for what does not matter.

    Of samples alone, the result has uncorrelated directions of variance 1, those of the largest
    variance first (Jégou and Chum, 2012, ECCV). With two views of each sample, it is

    .. math:: \max_W \operatorname{tr} W C W^\top \quad \text{with} \quad
        W (V + 0.03\, C) W^\top = 1

    with the covariance C of samples and V of views of one sample, so that what changes from view
    to view counts little: the learned whitening of Radenović et al., 2018, arXiv:1711.02512, with
    views for its matching pairs.

    Args:
        features: At least 2, of training samples.
        dims: Directions to keep; fewer if the features have not as many.
        views: Features of two views of some samples.

    Returns:
        Weight and bias: a feature x becomes ``weight @ x + bias``, whose mean is 0. Signs are such
        that the largest value of each row of ``weight`` is positive.

    Raises:
        ValueError: If there is less than one direction to keep, or the features do not differ or
            are not finite.

    >>> weight, bias = whitening(torch.tensor([[0.0, 3.0], [4.0, 3.0], [0.0, 3.0], [4.0, 3.0]]), 2)
    >>> weight, bias  # the second value says nothing
    (tensor([[0.5000, 0.0000]]), tensor([-1.]))
    """
    at_least(1, whiten=dims)
    if not features.isfinite().all() or (views is not None and not views.isfinite().all()):
        raise ValueError("whiten: features of training samples are not finite")
    mean = features.double().mean(dim=0)
    centered = features.double() - mean
    covariance = centered.T @ centered / len(features)
    unit = covariance
    if views is not None:
        apart = views[:, 0].double() - views[:, 1].double()
        unit = apart.T @ apart / (2 * len(apart)) + RIDGE * covariance
    variances, directions = torch.linalg.eigh(unit)
    kept = (variances > NEGLIGIBLE * variances[-1]) & (variances > 0)
    if not kept.any():
        raise ValueError("whiten: the features of all training samples are the same")
    weight = (directions[:, kept] / variances[kept].sqrt()).T.flip(0)
    if views is not None:
        weight = torch.linalg.eigh(weight @ covariance @ weight.T).eigenvectors.T.flip(0) @ weight
    weight = weight[:dims]
    largest = weight.gather(1, weight.abs().argmax(dim=1, keepdim=True))
    weight = weight * largest.sign() + 0.0  # no negative zero
    return weight.to(features.dtype), (-weight @ mean).to(features.dtype)


def whitened(
    network: Backbone,
    class_path: str,
    init_args: dict[str, Any],
    weight: Float[Tensor, "kept dim"],
    bias: Float[Tensor, " kept"],
) -> tuple[Embedder, dict[str, Any]]:
    """A copy of a network on the CPU that ends in a whitening, and what builds it again.

    All processes make it together where the network's weights are split.

    Args:
        network: The network.
        class_path: Dotted path of its class.
        init_args: Keyword arguments of its constructor.
        weight: Of :func:`whitening`.
        bias: Of the same.
    """
    about = {
        "class_path": class_path, "init_args": init_args, "neck": "linear", "dim": len(weight),
    }  # fmt: skip
    embedder = Embedder(network.inputs, **about)
    weights = without_adapters(network).state_dict()
    embedder.backbone.load_state_dict({name: whole(value) for name, value in weights.items()})
    linear = embedder.neck[0]
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return embedder.train(network.training), about
