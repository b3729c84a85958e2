"""The average of a backbone's weights over the steps of a run."""

from collections.abc import Iterator
from typing import Any, final

import torch

from ssl_dml.backbones import Backbone
from ssl_dml.methods.momentum import follow, follower
from ssl_dml.training.checkpoint import Stateful


@final
class Average:
    """Follows a backbone; its network is what is probed and saved.

    Args:
        backbone: The network that is trained, on its device.
        decay: Fraction of the average that a step keeps; None for no average, and the network is
            then the backbone itself.

    References:
        Tarvainen and Valpola, 2017, arXiv:1703.01780.
    """

    def __init__(self, backbone: Backbone, decay: float | None) -> None:
        self.backbone, self.decay = backbone, decay
        self.network = backbone if decay is None else follower(backbone)

    @property
    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint has of it."""
        return {} if self.decay is None else {"average": self}

    def follow(self, steps: Iterator[int]) -> Iterator[int]:
        """Pass steps on, and follow the backbone after each."""
        for step in steps:
            if self.decay is not None:
                follow(self.network, self.backbone, self.decay)
                self._follow_buffers(self.decay)
            yield step

    @torch.no_grad()
    def _follow_buffers(self, decay: float) -> None:
        """Average running statistics like weights; counts are taken over."""
        for ours, theirs in zip(self.network.buffers(), self.backbone.buffers(), strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs, 1 - decay)
            else:
                ours.copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        """The averaged network's state."""
        return self.network.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a checkpoint."""
        self.network.load_state_dict(state_dict)
