"""From what a store keeps to what a network expects."""

from typing import final

import torch
from torch import Tensor, nn

from ssl_dml.types import ImageSpec, Samples, SequenceSpec, Stored, as_floats


@final
class Normalize(nn.Module):
    """Subtract the mean and divide by the standard deviation of each channel.

    Integers are first scaled so that 255 is 1 of bytes, and 32,768 of 16-bit ones; floats are
    taken to be on the scale of the constants already.

    Args:
        inputs: Where the constants come from.
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
        """Normalized floats; zero where a channel has its mean."""
        return torch.addcmul(self.offset, as_floats(samples), self.scale)
