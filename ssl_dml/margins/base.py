"""The contract of margins: from cosines with class weights to the logits of a softmax."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_dml.types import SINGLE_PROCESS, ProcessGroup

Gradient = Literal["exact", "straight_through"]


class MarginInputs(NamedTuple):
    """What a margin is told of the rows beside their cosines.

    Class weights may be split over processes or sampled, so a row's own class need not be among
    the columns here; statistics are of the whole batch on every process.

    Attributes:
        columns: Column of each row's class; -1 where it is not here.
        cosines: Cosine of each row with its class, without gradient.
        norms: Length of each row before it was normalized.
        all_cosines: ``cosines`` of the whole batch over all processes.
        all_norms: ``norms`` of the whole batch, without gradient.
        num_classes: Classes in all, on all processes.
    """

    columns: Int[Tensor, " rows"]
    cosines: Float[Tensor, " rows"]
    norms: Float[Tensor, " rows"]
    all_cosines: Float[Tensor, " all"]
    all_norms: Float[Tensor, " all"]
    num_classes: int


class Margined(NamedTuple):
    """What a margin makes of cosines.

    Attributes:
        logits: For a softmax cross-entropy.
        penalty: What is added to the loss; 0 for most.
    """

    logits: Float[Tensor, "rows columns"]
    penalty: Float[Tensor, ""]


class Margin(nn.Module, ABC):
    """Makes the logit of a row's own class smaller, so that training has to make it larger.

    Running statistics are persistent buffers that move in training only.
    """

    @abstractmethod
    def forward(
        self,
        cosines: Float[Tensor, "rows columns"],
        inputs: MarginInputs,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> Margined:
        """Logits of the classes that are here.

        Args:
            cosines: Of each row with each class weight, in float32 or better.
            inputs: The rows' classes, norms and statistics.
            group: The processes that hold the other rows or the other columns.
        """


def whole_batch(
    cosines: Float[Tensor, "rows columns"],
    labels: Int[Tensor, " rows"],
    norms: Float[Tensor, " rows"] | None = None,
) -> MarginInputs:
    """MarginInputs of a batch that is here with all classes.

    Args:
        cosines: Of each row with each class weight.
        labels: Class of each row.
        norms: Length of each row; None for 1.
    """
    own = cosines.detach().gather(1, labels[:, None])[:, 0]
    norms = torch.ones_like(own) if norms is None else norms
    return MarginInputs(labels, own, norms, own, norms.detach(), cosines.shape[1])


def change_own(
    cosines: Float[Tensor, "rows columns"],
    columns: Int[Tensor, " rows"],
    function: Callable[[Float[Tensor, " own"], Int[Tensor, " own"]], Float[Tensor, " own"]],
) -> Float[Tensor, "rows columns"]:
    """The cosines with a function of those of the rows' own classes in their place.

    Args:
        cosines: Of each row with each class weight.
        columns: Column of each row's class; -1 where it is not here.
        function: Given the cosines of the rows whose class is here, and which rows these are.
    """
    rows = (columns >= 0).nonzero()[:, 0]
    places = (rows, columns[rows])
    return cosines.index_put(places, function(cosines[places], rows))


def plain(logits: Float[Tensor, "rows columns"]) -> Margined:
    """Logits without a penalty."""
    return Margined(logits, logits.new_zeros(()))


def with_gradient(
    changed: Float[Tensor, " own"], cosines: Float[Tensor, " own"], gradient: Gradient
) -> Float[Tensor, " own"]:
    """A changed cosine, whose slope is its own or taken to be 1."""
    if gradient == "exact":
        return changed
    return cosines + (changed - cosines).detach()


def cosine_of_sum(
    cosines: Float[Tensor, " own"], angle: float | Float[Tensor, " own"]
) -> Float[Tensor, " own"]:
    """cos(θ + angle) from cos θ, with a bounded slope at θ = 0 and θ = π.

    The slope of arccos has none there; that of this, on the sphere, is at most 1.
    """
    sines = ((1 - cosines) * (1 + cosines)).clamp(min=1e-12).sqrt()
    angle = torch.as_tensor(angle, dtype=cosines.dtype, device=cosines.device)
    return cosines * angle.cos() - sines * angle.sin()


def angles(cosines: Float[Tensor, " own"]) -> Float[Tensor, " own"]:
    """θ in radians, without gradient."""
    return cosines.detach().clamp(-1, 1).acos()


def check_scale(scale: float) -> None:
    """Refuse a scale that turns a softmax round."""
    if scale <= 0:
        raise ValueError(f"scale must be positive, got {scale}")
