"""The first values of an embedding, for a model that was trained so that they suffice."""

from typing import final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.backbones.base import Backbone
from ssl_dml.types import ConfigError, Samples


@final
class Prefix(Backbone):
    """A network whose embedding is the first values of another's, scaled to length 1.

    Args:
        backbone: The network.
        dim: How many values.

    Raises:
        ConfigError: If the embedding has fewer.

    References:
        Kusupati et al., 2022, arXiv:2205.13147.

    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> network = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> Prefix(network, 16).feature_dim
    16
    """

    def __init__(self, backbone: Backbone, dim: int) -> None:
        super().__init__()
        if not 1 <= dim <= backbone.feature_dim:
            raise ConfigError(
                f"dim must be from 1 to {backbone.feature_dim}, the dimension of the embedding, "
                f"got {dim}"
            )
        self.backbone, self.inputs, self.feature_dim = backbone, backbone.inputs, dim

    def forward(self, samples: Samples) -> Float[Tensor, "batch dim"]:
        """Return one unit vector for each normalized sample."""
        return F.normalize(self.backbone(samples)[:, : self.feature_dim], dim=1)
