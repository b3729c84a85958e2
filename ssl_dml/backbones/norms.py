"""Batch norm whose statistics are those of the batch over all processes, on any device."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.distributed import is_distributed, sum_with_gradient


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
        """Normalise with the statistics of all processes in training, the running ones else."""
        if not (self.training and is_distributed()):
            return nn.functional.batch_norm(
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
            return self._synchronised(wide).to(x.dtype)

    def _synchronised(self, x: Tensor) -> Tensor:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        count = sum_with_gradient(x.new_tensor(float(x.numel() // x.shape[1])))
        mean = sum_with_gradient(x.sum(axes)) / count
        centred = x - mean.view(shape)
        var = sum_with_gradient(centred.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * count / (count - 1), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (var + self.eps).rsqrt()
        return torch.addcmul(self.bias.view(shape), centred, scale.view(shape))


def synchronise_batch_norm(model: nn.Module) -> nn.Module:
    """Replace every batch norm in place by one over all processes; alone, change nothing."""
    if not is_distributed():
        return model
    for name, child in model.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)) and child.affine:
            setattr(model, name, SyncBatchNorm(child))
        else:
            synchronise_batch_norm(child)
    return model
