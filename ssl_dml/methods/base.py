"""The contract of self-supervised methods."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.memory import MemoryBank
from ssl_dml.types import Batch, Embeddings, StepOutput


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What a method is told of the run it is built for.

    Args:
        num_instances: Samples in the data set; indices are below it.
        batch_size: Samples in a batch over all processes.
        num_batches: Batches in the whole run, for what moves along a schedule.
        labeled: Whether batches have labels.
    """

    num_instances: int
    batch_size: int
    num_batches: int
    labeled: bool = False


class Method(nn.Module, ABC):
    """A backbone with a training objective; built by ``(backbone, run_info: RunInfo, *, ...)``.

    Attributes:
        backbone: The encoder that is kept when training is over.
    """

    backbone: Backbone

    @abstractmethod
    def forward(self, batch: Batch) -> StepOutput:
        """One step on this process's part of the batch.

        Args:
            batch: Views and indices of this process's samples; labels where the data have them.
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
