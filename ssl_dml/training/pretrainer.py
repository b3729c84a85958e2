"""A method of pretraining as the loop trains it."""

from typing import final

from torch import nn

from ssl_dml.backbones import Backbone
from ssl_dml.methods import Method
from ssl_dml.training.freezable import Freezable
from ssl_dml.types import Batch, StepOutput


@final
class Pretrainer(Freezable):
    """Hands batches to a method, whose backbone can be frozen for a while.

    Args:
        method: The objective around the backbone.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    @property
    def encoders(self) -> list[nn.Module]:
        """The backbone, then every other one of the method."""
        own = self.method.backbone
        others = [m for m in self.method.modules() if isinstance(m, Backbone) and m is not own]
        return [own, *others]

    @property
    def own_names(self) -> list[str]:
        """Those of the method, such as rows of a memory bank."""
        names = getattr(self.method, "_ddp_params_and_buffers_to_ignore", ())
        return [f"method.{name}" for name in names]

    def forward(self, batch: Batch) -> StepOutput:
        """Loss of one step on this process's part of the batch."""
        return self.method(batch)
