"""A turn of an embedding after which its first dimensions tell classes apart best."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_dml.backbones.adapters import without_adapters
from ssl_dml.backbones.embedder import Embedder

NEGLIGIBLE = 1e-6  # of the variance, which is added so that it is nowhere 0


def discriminants(
    embeddings: Float[Tensor, "rows dim"], labels: Int[Tensor, " rows"]
) -> Float[Tensor, "dim dim"]:
    r"""Orthogonal directions, those that tell classes apart best first.

    They span what linear discriminant analysis of rows of length 1 finds, one direction after the
    other: the :math:`w` of the largest

    .. math:: \frac{w^\top B w}{w^\top (V + \operatorname{tr}(V) / d \cdot 1) w}

    with the covariance B of class means and V within classes in d dimensions. The mean variance is
    added because variances within classes that were trained on are smaller than those within
    others. As directions are orthogonal, cosines and distances of whole rows stay as they are.

    Args:
        embeddings: Rows of two classes or more; their lengths do not count.
        labels: Class of each row, from 0 on.

    Returns:
        A direction in each row, whose largest value is positive.

    Raises:
        ValueError: If embeddings do not differ or are not finite.

    References:
        Fisher, 1936; Friedman, 1989, Regularized Discriminant Analysis, eq. 18.

    >>> rows = torch.tensor([[3.0, 4.0], [3.0, 4.0], [4.0, -3.0], [4.0, -3.0]])
    >>> discriminants(rows, torch.tensor([0, 0, 1, 1])).mul(2**0.5)[0]  # 7 (y) and 1 (x) apart
    tensor([-0.2000,  1.4000])
    """
    if not embeddings.isfinite().all():
        raise ValueError("embeddings of training samples are not finite")
    rows = F.normalize(embeddings.double(), dim=1)
    counts = torch.bincount(labels).double()[:, None]
    means = rows.new_zeros(len(counts), rows.shape[1]).index_add_(0, labels, rows)
    means /= counts.clamp(min=1)
    within = rows - means[labels]
    between = (means - rows.mean(dim=0)) * (counts / len(rows)).sqrt()
    inner, outer = within.T @ within / len(rows), between.T @ between
    if not outer.trace() > 0:
        raise ValueError("embeddings of all classes are the same")
    noise = inner.trace() + NEGLIGIBLE * outer.trace()
    inner = inner + noise / len(inner) * torch.eye(len(inner), dtype=torch.double)
    root = torch.linalg.inv(torch.linalg.cholesky(inner))
    found = torch.linalg.eigh(root @ outer @ root.T).eigenvectors.flip(1)
    directions = torch.linalg.qr(root.T @ found).Q.T
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return (directions * largest.sign()).to(embeddings.dtype)


def turned(
    embedder: Embedder, directions: Float[Tensor, "dim dim"], init_args: dict[str, Any]
) -> tuple[Embedder, dict[str, Any]]:
    """A copy on the CPU whose embeddings are along other directions, and what builds it again.

    It ends in a linear map, in which a batch norm after that of the embedder is contained.

    Args:
        embedder: Whose neck begins with a linear map.
        directions: Of :func:`discriminants`.
        init_args: What builds the embedder.
    """
    about = {**init_args, "neck": "linear", "dim": embedder.feature_dim}
    plain, copy = (Embedder(embedder.inputs, **given) for given in (init_args, about))
    plain.load_state_dict(without_adapters(embedder).state_dict())  # norms of several processes too
    copy.backbone.load_state_dict(plain.backbone.state_dict())
    linear, own = plain.neck[0], copy.neck[0]
    assert isinstance(linear, nn.Linear)
    assert isinstance(own, nn.Linear)
    weight, bias = linear.weight.double(), torch.zeros(copy.feature_dim).double()
    if linear.bias is not None:
        bias = linear.bias.double()
    for norm in plain.neck[1:]:
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        bias = (bias - norm.running_mean.double()) * scale + norm.bias.double()
        weight = weight * scale[:, None]
    with torch.no_grad():
        own.weight.copy_(directions.double() @ weight)
        own.bias.copy_(directions.double() @ bias)
    return copy.eval(), about
