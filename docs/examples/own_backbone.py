"""A backbone of your own that a YAML file can name.

Run in this folder: python -m ssl_dml pretrain --config own_backbone.yaml
"""

from itertools import pairwise
from typing import final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.backbones import Backbone
from ssl_dml.types import ImageSpec, Samples


@final
class SmallConvNet(Backbone):
    """Three convolutions and a mean over positions, for images of any size.

    Args:
        images: The images it is for; the toolkit gives it.
        width: Channels of the first convolution; the features have four times as many.
    """

    def __init__(self, images: ImageSpec, *, width: int = 32) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"backbone: width must be at least 1, got {width}")
        self.inputs = images
        self.feature_dim = 4 * width
        channels = [images.channels, width, 2 * width, 4 * width]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(channels)
        )

    def forward(self, samples: Samples) -> Float[Tensor, "batch dim"]:
        """Features of normalized images."""
        for stage in self.stages:
            samples = stage(samples)
        return F.adaptive_avg_pool2d(samples, 1).flatten(1)
