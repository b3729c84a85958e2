"""Batch norm whose statistics are those of the batch over all processes, on any device."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ssl_dml.distributed import all_reduce_mean, is_distributed, sum_with_gradient, world_size


@final
class SyncBatchNorm(nn.Module):
    """Batch norm over the batch of all processes, exact in value and gradient.

    torch's own runs on accelerators alone; this one runs everywhere. Alone, in eval mode, and
    in its parameters and buffers it is ``torch.nn.BatchNorm2d``.

    Args:
        norm: The layer it takes the place of; parameters and buffers are shared with it.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.eps, self.momentum = norm.eps, 0.1 if norm.momentum is None else norm.momentum

    def forward(self, x: Float[Tensor, "batch dim *space"]) -> Float[Tensor, "batch dim *space"]:
        """Normalize with the statistics of all processes in training, the running ones else."""
        if not (self.training and is_distributed()):
            return functional.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.training,
                self.momentum,
                self.eps,
            )
        with torch.autocast(x.device.type, enabled=False):
            wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
            return self._synchronized(wide).to(x.dtype)

    def _synchronized(self, x: Tensor) -> Tensor:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        count = sum_with_gradient(x.new_tensor(float(x.numel() // x.shape[1])))
        center = sum_with_gradient(x.sum(axes)) / count
        centered = x - center.view(shape)
        var = sum_with_gradient(centered.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean.lerp_(center, self.momentum)
            self.running_var.lerp_(var * count / (count - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = (var + self.eps).rsqrt()
        if self.weight is None:
            return centered * scale.view(shape)
        return torch.addcmul(self.bias.view(shape), centered, (self.weight * scale).view(shape))


@final
class SplitBatchNorm(nn.Module):
    """Batch norm that treats consecutive parts of the batch of all processes each by itself.

    Each part has its own statistics, as each GPU had in MoCo (He et al., 2020, arXiv:1911.05722,
    sec. 3.3), on any number of processes that divides the number of parts. The running
    statistics follow the mean over parts.

    Args:
        norm: The layer it takes the place of; parameters and buffers are shared with it.
        groups: Parts of the batch of all processes.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, groups: int) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(norm, name))
        self.eps, self.momentum = norm.eps, 0.1 if norm.momentum is None else norm.momentum
        self.groups = groups

    def forward(self, x: Float[Tensor, "batch dim *space"]) -> Float[Tensor, "batch dim *space"]:
        """Normalize each part with its own statistics in training, with the running ones else."""
        if not self.training:
            means, variances = self.running_mean, self.running_var
            return functional.batch_norm(x, means, variances, self.weight, self.bias, eps=self.eps)
        parts = x.chunk(self.groups // world_size())
        # With momentum 1 they receive the statistics of each part.
        means = self.running_mean.new_empty(len(parts), x.shape[1])
        variances = torch.empty_like(means)
        done = [
            functional.batch_norm(part, m, v, self.weight, self.bias, True, 1.0, self.eps)
            for part, m, v in zip(parts, means.zero_(), variances.zero_(), strict=True)
        ]
        with torch.no_grad():
            overall = all_reduce_mean(torch.stack([means.mean(dim=0), variances.mean(dim=0)]))
            self.running_mean.lerp_(overall[0], self.momentum)
            self.running_var.lerp_(overall[1], self.momentum)
            self.num_batches_tracked.add_(1)
        return torch.cat(done)


def split_batch_norm(model: nn.Module, groups: int) -> None:
    """Replace every batch norm in place by one over each of ``groups`` parts of the batch.

    Raises:
        ValueError: If the processes cannot share the parts evenly.
    """
    if groups % world_size():
        raise ValueError(
            f"groups must be a multiple of the number of processes, {world_size()}; got {groups}"
        )
    for name, child in model.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(model, name, SplitBatchNorm(child, groups))
        else:
            split_batch_norm(child, groups)


def synchronize_batch_norm(model: nn.Module) -> nn.Module:
    """Replace every batch norm in place by one over all processes; alone, change nothing."""
    if not is_distributed():
        return model
    for name, child in model.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(model, name, SyncBatchNorm(child))
        else:
            synchronize_batch_norm(child)
    return model
