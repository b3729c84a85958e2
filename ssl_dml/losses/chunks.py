"""Sums over triplets of rows in the memory of pairs."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

VALUES_PER_CHUNK = 1 << 22

PerPair = Callable[
    [Float[Tensor, "pairs references"], Int[Tensor, " pairs"], Int[Tensor, " pairs"]],
    Float[Tensor, " pairs"],
]


def per_pair(
    matrix: Float[Tensor, "anchors references"],
    anchors: Int[Tensor, " pairs"],
    extra: Int[Tensor, " pairs"],
    function: PerPair,
) -> Float[Tensor, " pairs"]:
    """Apply a function to each (anchor, positive) pair and the anchor's row of distances.

    The rows of all pairs together would be a cube. So the pairs are computed in chunks, forward
    and again in backward, and no chunk is kept.

    Args:
        matrix: Distances or similarities, one row for each anchor.
        anchors: Anchor of each pair.
        extra: A further number for each pair, such as its positive.
        function: Takes the matrix rows, the anchors and the extra numbers of a chunk. The value
            of a pair may depend on the pair's own row alone.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses.chunks import per_pair
        >>> matrix = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> anchors, positives = torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1])
        >>> per_pair(matrix, anchors, positives, lambda rows, anchors, positives: rows.sum(dim=1))
        tensor([3., 7., 7.])
    """
    return _PerPair.apply(matrix, anchors, extra, function)  # pyright: ignore[reportReturnType]


class _PerPair(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own signature
        matrix: Tensor,
        anchors: Tensor,
        extra: Tensor,
        function: PerPair,
    ) -> Tensor:
        size = max(1, VALUES_PER_CHUNK // max(1, matrix.shape[1]))
        values = [matrix.new_empty(0)]
        for rows, numbers in zip(anchors.split(size), extra.split(size), strict=True):
            values.append(function(matrix[rows], rows, numbers))
        ctx.save_for_backward(matrix, anchors, extra)
        ctx.function, ctx.size = function, size
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        matrix, anchors, extra = ctx.saved_tensors
        total = torch.zeros_like(matrix)
        chunks = (tensor.split(ctx.size) for tensor in (anchors, extra, gradients[0]))
        for rows, numbers, weights in zip(*chunks, strict=True):
            with torch.enable_grad():
                chunk = matrix[rows].requires_grad_()
                values = ctx.function(chunk, rows, numbers)
            (slope,) = torch.autograd.grad(values, chunk, weights)
            total.index_add_(0, rows, slope)
        return total, None, None, None
