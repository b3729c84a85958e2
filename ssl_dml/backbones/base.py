"""The interface of backbones."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.types import ImageSpec, Samples, SequenceSpec


class Backbone(nn.Module, ABC):
    """Turns samples into features; the constructor is ``(inputs: ImageSpec | SequenceSpec, ...)``.

    A class of your own needs two attributes and ``forward``; YAML can then name it.

    >>> class ChannelMeans(Backbone):
    ...     def __init__(self, inputs: ImageSpec) -> None:
    ...         super().__init__()
    ...         self.inputs, self.feature_dim = inputs, inputs.channels
    ...
    ...     def forward(self, samples: Tensor) -> Tensor:
    ...         return samples.mean(dim=(2, 3))
    >>> ChannelMeans(ImageSpec.imagenet(8)).feature_dim
    3

    Attributes:
        feature_dim: Dimension of a feature.
        inputs: Size and normalization of the samples it was built for.
    """

    feature_dim: int
    inputs: ImageSpec | SequenceSpec

    @abstractmethod
    def forward(self, samples: Samples) -> Float[Tensor, "batch dim"]:
        """Return one feature for each normalized sample."""

    def advice(self) -> str:
        """What to tell a user whose samples the network does not take."""
        return ""
