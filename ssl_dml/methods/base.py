"""The contract of self-supervised methods."""

from abc import ABC, abstractmethod

from torch import nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.types import Indices, StepOutput, Views


class Method(nn.Module, ABC):
    """A backbone with a training objective; built by ``(backbone, num_instances, *, ...)``.

    Attributes:
        backbone: The encoder that is kept when training is over.
    """

    backbone: Backbone

    @abstractmethod
    def forward(self, views: Views, indices: Indices) -> StepOutput:
        """One step on this process's part of the batch.

        Args:
            views: Normalised views; ``views[v][i]`` shows sample ``indices[i]``.
            indices: Which samples of the data set these are, distinct over all processes.
        """
