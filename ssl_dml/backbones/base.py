"""The contract of encoders."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.types import ImageSpec, Samples, SequenceSpec


class Backbone(nn.Module, ABC):
    """Turns samples into features; built by ``(inputs: ImageSpec | SequenceSpec, *, ...)``.

    Attributes:
        feature_dim: Dimension of a feature.
        inputs: The samples it was built for, with their normalization.
    """

    feature_dim: int
    inputs: ImageSpec | SequenceSpec

    @abstractmethod
    def forward(self, samples: Samples) -> Float[Tensor, "batch dim"]:
        """Features of normalized samples."""
