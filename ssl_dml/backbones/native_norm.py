"""Batch norm over all processes by the kernels that an accelerator has for it."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.distributed import gather, sum_with_gradient

LAYOUTS = (torch.contiguous_format, torch.channels_last, torch.channels_last_3d)


@torch.compiler.assume_constant_result
def has_kernels(kind: str) -> bool:
    """Whether devices of a type have kernels for it, as CUDA has and the CPU has not.

    >>> has_kernels("cpu")
    False
    """
    key = torch._C._dispatch_key_for_device(kind)
    return torch._C._dispatch_has_kernel_for_dispatch_key("aten::batch_norm_stats", key)


def normalize(
    x: Float[Tensor, "batch dim *space"], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Float[Tensor, "batch dim *space"], Float[Tensor, " dim"], Float[Tensor, " dim"]]:
    """Normalize each channel by its statistics over the batches of all processes.

    One collective forward and one backward, and nothing that the host waits for:
    ``torch.nn.SyncBatchNorm`` launches the same kernels and waits for the counts of the processes.

    Args:
        x: The batch of this process, with at least one sample.
        weight: Of each channel; None for 1.
        bias: Of each channel; None for 0.
        eps: Added to the variance.

    Returns:
        The normalized batch, and mean and unbiased variance of all batches, without gradient.
    """
    return _Normalize.apply(x, weight, bias, eps)  # pyright: ignore[reportReturnType]


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own signature
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, dim = _dense(x), x.shape[1]
        own_mean, own_scale = torch.batch_norm_stats(x, eps)
        count = own_mean.new_full((1,), x.numel() // dim)
        everyones = gather(torch.cat([own_mean, own_scale, count])[None])
        means, scales, counts = everyones.split([dim, dim, 1], dim=1)
        # With momentum 1 they receive the statistics of all.
        found_mean, found_var = own_mean.new_zeros(2, dim).unbind()
        mean, scale = torch.batch_norm_gather_stats_with_counts(
            x, means, scales, found_mean, found_var, 1.0, eps, counts.flatten()
        )
        ctx.save_for_backward(x, weight, mean, scale, counts.flatten().int())
        ctx.mark_non_differentiable(found_mean, found_var)
        return torch.batch_norm_elemt(x, weight, bias, mean, scale, eps), found_mean, found_var

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight, mean, scale, counts = ctx.saved_tensors
        pull, wanted = _dense(gradients[0]), ctx.needs_input_grad[:3]
        *sums, for_weight, for_bias = torch.batch_norm_backward_reduce(
            pull, x, mean, scale, weight, *wanted
        )
        for_x = None
        if wanted[0]:
            total, along = sum_with_gradient(torch.stack(sums)).unbind()
            given = None if weight is None else weight.to(mean.dtype)
            for_x = torch.batch_norm_backward_elemt(
                pull, x, mean, scale, given, total, along, counts
            )
        return for_x, for_weight if wanted[1] else None, for_bias if wanted[2] else None, None


def _dense(x: Tensor) -> Tensor:
    """The same in a layout that the kernels know."""
    for layout in LAYOUTS[: x.ndim - 1]:  # torch.compile has no any() of a generator here
        if x.is_contiguous(memory_format=layout):
            return x
    return x.contiguous()
