"""The contract of self-supervised methods."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.memory import MemoryBank
from ssl_dml.types import Embeddings, Indices, StepOutput, Views


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What a method is told of the run it is built for.

    Args:
        num_instances: Samples in the data set; indices are below it.
        batch_size: Samples in a batch over all processes.
        num_batches: Batches in the whole run, for what moves along a schedule.
        labels: Class of each sample, -1 where it is not known; None without labels.
    """

    num_instances: int
    batch_size: int
    num_batches: int
    labels: Int[Tensor, " instances"] | None = None


class Method(nn.Module, ABC):
    """A backbone with a training objective; built by ``(backbone, run_info: RunInfo, *, ...)``.

    Attributes:
        backbone: The encoder that is kept when training is over.
    """

    backbone: Backbone

    @abstractmethod
    def forward(self, views: Views, indices: Indices) -> StepOutput:
        """One step on this process's part of the batch.

        Args:
            views: Normalized views; ``views[v][i]`` shows sample ``indices[i]``.
            indices: Which samples of the data set these are, distinct over all processes.
        """


class BankMethod(Method):
    """A method that keeps a row for every instance, among which images can be searched.

    Attributes:
        bank: The rows.
    """

    bank: MemoryBank

    @abstractmethod
    def project(self, features: Float[Tensor, "batch features"]) -> Embeddings:
        """From the backbone's features to unit embeddings in the space of the bank."""
