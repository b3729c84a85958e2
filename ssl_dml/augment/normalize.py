"""Normalization: decoded samples become the floats that a network expects."""

from typing import final

import torch
from torch import Tensor, nn

from ssl_dml.types import ImageSpec, Samples, SequenceSpec, Stored, as_floats


@final
class Normalize(nn.Module):
    """Subtract the mean of each channel and divide by its standard deviation.

    Integers are scaled first: bytes by 1 / 255 and 16-bit integers by 1 / 32,768. Floats are
    used as they are.

    >>> normalize = Normalize(ImageSpec(channels=1, size=1, mean=(0.5,), std=(0.25,)))
    >>> normalize(torch.tensor([[[[255]]]], dtype=torch.uint8))
    tensor([[[[2.]]]])

    Args:
        inputs: Gives the mean and the standard deviation.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, inputs: ImageSpec | SequenceSpec) -> None:
        super().__init__()
        extent = (1, 1) if isinstance(inputs, ImageSpec) else (1,)
        mean, std = (torch.tensor(v).view(1, -1, *extent) for v in (inputs.mean, inputs.std))
        self.register_buffer("scale", 1 / std, persistent=False)
        self.register_buffer("offset", -mean / std, persistent=False)

    def forward(self, samples: Stored) -> Samples:
        """Return normalized floats; a value equal to its channel's mean becomes 0."""
        return torch.addcmul(self.offset, as_floats(samples), self.scale)
