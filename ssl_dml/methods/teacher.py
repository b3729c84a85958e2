"""A frozen, trained backbone that a student learns from."""

from typing import final

import torch
from torch import Tensor, nn

from ssl_dml.backbones import load
from ssl_dml.precision import unit_rows
from ssl_dml.types import ConfigError, Embeddings, ImageSpec, Samples, SequenceSpec


@final
class Teacher(nn.Module):
    """A saved backbone in eval mode without gradients, which sees the views of the student.

    Its weights are part of the state, so a run goes on with the teacher that it began with.

    Args:
        folder: Folder of a saved backbone, such as ``runs/default/backbone``.
        inputs: Samples of the student, in whose normalization the views come.

    Attributes:
        dim: Dimension of the teacher's embeddings.

    Raises:
        ConfigError: If the teacher is for samples of another kind or number of channels.
        ValueError: If there is no saved backbone; the message names the folder.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, folder: str, inputs: ImageSpec | SequenceSpec) -> None:
        super().__init__()
        network = load(folder)
        theirs = network.inputs
        if type(theirs) is not type(inputs) or theirs.channels != inputs.channels:
            raise ConfigError(
                f"teacher {folder!r} is for {_told(theirs)}, and the data are {_told(inputs)}; "
                "name a teacher of such samples, or set data.channels"
            )
        self.network, self.dim = network.requires_grad_(False), network.feature_dim
        extent = (-1, *(1 for _ in range(2 if isinstance(inputs, ImageSpec) else 1)))
        ours_mean, ours_std, mean, std = (
            torch.tensor(values).view(extent)
            for values in (inputs.mean, inputs.std, theirs.mean, theirs.std)
        )
        self.register_buffer("scale", ours_std / std)
        self.register_buffer("shift", (ours_mean - mean) / std)

    def train(self, mode: bool = True) -> "Teacher":  # noqa: ARG002
        """Stay in eval mode, in which batch norm uses its running statistics."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, view: Samples) -> Embeddings:
        """Unit embeddings of a normalized view."""
        return unit_rows(self.network(view * self.scale + self.shift))


def _told(spec: ImageSpec | SequenceSpec) -> str:
    kind = "images" if isinstance(spec, ImageSpec) else "sequences"
    return f"{kind} of {spec.channels} channels"
