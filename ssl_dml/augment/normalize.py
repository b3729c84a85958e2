"""From bytes to what a network expects."""

from typing import final

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from ssl_dml.types import Images, ImageSpec


@final
class Normalize(nn.Module):
    """Subtract the mean and divide by the standard deviation of each channel.

    Bytes are first scaled so that 255 is 1; floats are taken to be on that scale already.

    Args:
        images: Where the constants come from.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, images: ImageSpec) -> None:
        super().__init__()
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (images.mean, images.std))
        self.register_buffer("scale", 1 / std, persistent=False)
        self.register_buffer("offset", -mean / std, persistent=False)

    def forward(self, images: Shaped[Tensor, "batch channels height width"]) -> Images:
        """Normalised floats; zero where a channel has its mean."""
        values = images if images.is_floating_point() else images.float() / 255
        return torch.addcmul(self.offset, values, self.scale)
