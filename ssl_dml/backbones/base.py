"""The contract of encoders."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.types import ImageSpec


class Backbone(nn.Module, ABC):
    """Turns samples into features; built by ``(images: ImageSpec, *, ...)``.

    Attributes:
        feature_dim: Dimension of a feature.
        images: The pictures it was built for, with their normalisation.
    """

    feature_dim: int
    images: ImageSpec

    @abstractmethod
    def forward(
        self, samples: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch dim"]:
        """Features of normalised samples."""
