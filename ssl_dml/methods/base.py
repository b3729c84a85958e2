"""Base classes of self-supervised methods."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.memory import MemoryBank
from ssl_dml.precision import unit_rows
from ssl_dml.types import Batch, Embeddings, StepOutput


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """Sizes of a run, which a method needs to build its memory and its schedules.

    Args:
        num_instances: Number of samples in the data set; indices are below it.
        batch_size: Number of samples in a batch of all processes.
        num_batches: Number of batches in the run.
        labeled: Whether batches have labels.

    >>> RunInfo(num_instances=50_000, batch_size=256, num_batches=39_000).labeled
    False
    """

    num_instances: int
    batch_size: int
    num_batches: int
    labeled: bool = False


class Method(nn.Module, ABC):
    """A backbone with a training objective; built by ``(backbone, run_info: RunInfo, *, ...)``.

    Attributes:
        backbone: The encoder to keep after training.
    """

    backbone: Backbone

    @abstractmethod
    def forward(self, batch: Batch) -> StepOutput:
        """The loss of one step on this process's part of the batch.

        Args:
            batch: Views and indices of this process's samples; labels where the data have them.
        """


class BankMethod(Method, ABC):
    """A method with a memory bank, which has a row for every sample.

    Attributes:
        projector: Maps features of the backbone to embeddings.
        bank: The memory bank.
    """

    projector: nn.Module
    bank: MemoryBank
    # DistributedDataParallel would broadcast the rows of rank 0.
    _ddp_params_and_buffers_to_ignore = ("bank.embeddings",)

    def project(self, features: Float[Tensor, "batch features"]) -> Embeddings:
        """Unit embeddings of the backbone's features, to compare with rows of the bank."""
        return unit_rows(self.projector(features))
