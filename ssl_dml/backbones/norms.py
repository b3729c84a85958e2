"""Batch norm over the batch of all processes, or over parts of it, on any device."""

from collections.abc import Callable
from typing import Any, TypeVar, cast, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ssl_dml.backbones.native_norm import has_kernels, normalize
from ssl_dml.distributed import all_reduce_mean, is_distributed, sum_with_gradient, world_size

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
Network = TypeVar("Network", bound=nn.Module)


class _ReplacedBatchNorm(nn.Module):
    """Shares parameters and buffers with the batch norm that it replaces."""

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, norm: BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.eps, self.momentum = norm.eps, norm.momentum
        # timm's norms of EfficientNets and others end with an activation.
        rest = [getattr(norm, name, None) for name in ("drop", "act")]
        self.rest = nn.Sequential(*(module for module in rest if module is not None))
        self.train(norm.training)  # what is frozen stays so

    def _local(self, x: Tensor) -> Tensor:
        """Batch norm as torch computes it, over the batch of this process."""
        mean, var, weight, bias = self.running_mean, self.running_var, self.weight, self.bias
        if mean is not None and not self.training:
            return functional.batch_norm(x, mean, var, weight, bias, eps=self.eps)
        mean, var = self._receiving(x, x.shape[1]).unbind()
        normalized = functional.batch_norm(x, mean, var, weight, bias, True, 1.0, self.eps)
        if self.training:
            self._update(mean, var)
        return normalized

    @staticmethod
    def _receiving(x: Tensor, dim: int) -> Tensor:
        """Running statistics that, with momentum 1, become those of a batch."""
        precise = torch.promote_types(x.dtype, torch.float32)
        return x.new_zeros(2, dim, dtype=precise)

    @torch.no_grad()
    def _update(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics towards those of a batch; without momentum, average all."""
        if self.running_mean is None or self.running_var is None:
            return
        count = cast("Tensor", self.num_batches_tracked).add_(1)
        own, found = [self.running_mean, self.running_var], [mean, var]
        if self.momentum is None:
            step = count.to(mean.dtype).reciprocal()
            torch._foreach_lerp_(own, found, [step, step])
        else:
            torch._foreach_lerp_(own, found, self.momentum)


@final
class SyncBatchNorm(_ReplacedBatchNorm):
    """Batch norm over the batch of all processes, exact in value and gradient.

    An accelerator's own kernels compute it, as for ``torch.nn.SyncBatchNorm``, which has no others;
    devices without them, such as CPUs, take sums over the processes. With one process, or in eval
    mode, it computes what ``torch.nn.BatchNorm2d`` does; parameters and buffers have its names.

    >>> norm = nn.BatchNorm1d(3)
    >>> x = torch.randn(8, 3)
    >>> torch.equal(SyncBatchNorm(norm)(x), norm(x))
    True

    Args:
        norm: The layer to replace; its parameters and buffers are shared.
    """

    def forward(self, x: Float[Tensor, "batch dim *space"]) -> Float[Tensor, "batch dim *space"]:
        """Normalize by the statistics of all processes in training, by the running ones in eval."""
        if not (self.training and is_distributed()):
            return self.rest(self._local(x))
        if has_kernels(x.device.type):
            found, mean, var = normalize(x, self.weight, self.bias, self.eps)
            self._update(mean, var)
            return self.rest(found)
        with torch.autocast(x.device.type, enabled=False):
            wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
            found = self._by_sums(wide).to(x.dtype)
        return self.rest(found)

    def _by_sums(self, x: Tensor) -> Tensor:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        own = torch.cat([x.sum(axes), x.new_full((1,), x.numel() // x.shape[1])])
        total, count = sum_with_gradient(own).split([x.shape[1], 1])
        center = total / count
        centered = x - center.view(shape)
        var = sum_with_gradient(centered.square().sum(axes)) / count
        self._update(center.detach(), (var * count / (count - 1)).detach())
        scale = (var + self.eps).rsqrt()
        if self.weight is None:
            return centered * scale.view(shape)
        return torch.addcmul(self.bias.view(shape), centered, (self.weight * scale).view(shape))


@final
class SplitBatchNorm(_ReplacedBatchNorm):
    """Batch norm with separate statistics for each of several consecutive parts of the batch.

    It imitates training on that many GPUs, as MoCo was (He et al., 2020, arXiv:1911.05722,
    sec. 3.3), on any number of processes that divides the number of parts. The running
    statistics follow the mean over parts.

    >>> x = torch.tensor([0.0, 2.0, 10.0, 12.0])[:, None]
    >>> SplitBatchNorm(nn.BatchNorm1d(1), groups=2)(x).round().flatten().tolist()
    [-1.0, 1.0, -1.0, 1.0]

    Args:
        norm: The layer to replace; its parameters and buffers are shared.
        groups: Number of parts of the batch of all processes.
    """

    def __init__(self, norm: BatchNorm, groups: int) -> None:
        super().__init__(norm)
        self.groups = groups

    def forward(self, x: Float[Tensor, "batch dim *space"]) -> Float[Tensor, "batch dim *space"]:
        """Normalize each part by its own statistics in training, by the running ones in eval."""
        if not self.training:
            return self.rest(self._local(x))
        parts, dim = self.groups // world_size(), x.shape[1]
        if len(x) % parts:
            raise ValueError(
                f"a batch of {len(x)} samples cannot be split into {parts} equal parts"
            )
        # One call: the parts stand side by side, each with channels of its own.
        beside = cast("Tensor", _Beside.apply(x, parts))
        weight, bias = (
            one if one is None else one.repeat(parts) for one in (self.weight, self.bias)
        )
        found = self._receiving(x, parts * dim)
        mean, var = found.unbind()
        done = functional.batch_norm(beside, mean, var, weight, bias, True, 1.0, self.eps)
        mean, var = all_reduce_mean(found.unflatten(1, (parts, dim)).mean(dim=1)).unbind()
        self._update(mean, var)
        return self.rest(_Apart.apply(done, parts, x.shape, x.stride()))


def _beside(x: Tensor, parts: int) -> Tensor:
    """Parts of a batch as channels of one that is shorter."""
    return x.unflatten(0, (parts, -1)).transpose(0, 1).flatten(1, 2)


def _apart(x: Tensor, parts: int, shape: torch.Size, stride: tuple[int, ...]) -> Tensor:
    """The reverse, in the memory layout that the batch had."""
    whole = torch.empty_strided(shape, stride, dtype=x.dtype, device=x.device)
    whole.unflatten(0, (parts, -1)).copy_(x.unflatten(1, (parts, -1)).transpose(0, 1))
    return whole


class _Beside(torch.autograd.Function):
    """With a gradient in one copy, in the layout of its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, parts: int) -> Tensor:  # noqa: ANN401
        ctx.whole = parts, x.shape, x.stride()
        return _beside(x, parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return _apart(gradients[0], *ctx.whole), None


class _Apart(torch.autograd.Function):
    """The reverse."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        parts: int,
        shape: torch.Size,
        stride: tuple[int, ...],
    ) -> Tensor:
        ctx.parts = parts
        return _apart(x, parts, shape, stride)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401
        return _beside(gradients[0], ctx.parts), None, None, None


@final
class FrozenBatchNorm(_ReplacedBatchNorm):
    """Batch norm that keeps its running statistics, in training too.

    >>> norm = FrozenBatchNorm(nn.BatchNorm1d(1)).train()
    >>> norm(torch.tensor([[2.0], [4.0]])).round().flatten().tolist()
    [2.0, 4.0]
    >>> norm.running_mean
    tensor([0.])

    Args:
        norm: The layer to replace; its parameters and buffers are shared.
    """

    def train(self, mode: bool = True) -> "FrozenBatchNorm":  # noqa: ARG002
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, x: Float[Tensor, "batch dim *space"]) -> Float[Tensor, "batch dim *space"]:
        """Normalize by the running statistics."""
        return self.rest(self._local(x))


def freeze_batch_norm(model: nn.Module) -> None:
    """Let every batch norm whose weights are frozen keep its running statistics, in place."""

    def frozen(norm: BatchNorm) -> nn.Module:
        trained = any(parameter.requires_grad for parameter in norm.parameters())
        return norm if trained or norm.running_mean is None else FrozenBatchNorm(norm)

    _replace(model, frozen)


def split_batch_norm(model: nn.Module, groups: int) -> None:
    """Replace every batch norm in place by one over each of ``groups`` parts of the batch.

    Raises:
        ValueError: If ``groups`` is not a multiple of the number of processes.
    """
    if groups % world_size():
        raise ValueError(
            f"groups must be a multiple of the number of processes, {world_size()}; got {groups}"
        )
    _replace(model, lambda norm: SplitBatchNorm(norm, groups))


def synchronize_batch_norm(model: Network) -> Network:
    """Replace every batch norm in place by one over all processes; with one, change nothing."""
    if is_distributed():
        _replace(model, SyncBatchNorm)
    return model


def _replace(model: nn.Module, make: Callable[[BatchNorm], nn.Module]) -> None:
    for name, child in model.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(model, name, make(child))
        else:
            _replace(child, make)
