"""A model whose backbone can be frozen for a while."""

from abc import ABC, abstractmethod

from torch import nn

from ssl_dml.distributed import is_split
from ssl_dml.memory import ddp_ignored_names


class Freezable(nn.Module, ABC):
    """Base class of what a run trains.

    A frozen backbone has no gradient, and it and what follows it are in evaluation mode, so that
    batch norm keeps its statistics.
    """

    def __init__(self) -> None:
        super().__init__()
        self.frozen = False
        self._trained: list[nn.Parameter] = []

    @property
    @abstractmethod
    def encoders(self) -> list[nn.Module]:
        """The backbone, then its momentum encoders if there are any."""

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        """Names that ``DistributedDataParallel`` must leave alone; it reads this attribute."""
        split = [name for name, parameter in self.named_parameters() if is_split(parameter)]
        return [*self.own_names, *split]

    @property
    def own_names(self) -> list[str]:
        """Names of parameters and buffers that need not be the same on every process."""
        return ddp_ignored_names(self)

    @property
    def shares_gradients(self) -> bool:
        """Whether anything trains whose gradients ``DistributedDataParallel`` must average."""
        own = set(self._ddp_params_and_buffers_to_ignore)
        return any(p.requires_grad and name not in own for name, p in self.named_parameters())

    def freeze(self, frozen: bool) -> None:
        """Freeze or unfreeze the backbone, including its batch statistics."""
        if not self.frozen:  # what the backbone itself froze stays frozen
            self._trained = [p for p in self.encoders[0].parameters() if p.requires_grad]
        self.frozen = frozen
        for parameter in self._trained:
            parameter.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Freezable":
        """Set the training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            for encoder in self.encoders:
                encoder.eval()
        return self
