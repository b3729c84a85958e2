"""The contract of margins: from cosines with class weights to the logits of a softmax."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from ssl_dml.types import SINGLE_PROCESS, ProcessGroup

Cosines = Float[Tensor, "rows columns"]
Own = Float[Tensor, " own"]
Gradient = Literal["exact", "straight_through"]


class MarginInputs(NamedTuple):
    """What a margin may know of the rows besides their cosines.

    A row's own class has the column -1 where its weight is not on this process: class weights may
    be split over processes, and then each process has all rows but only some classes. A margin
    must leave such a row's cosines unchanged, since all of them are those of other classes.
    ``cosines`` has the own cosine of every row all the same.

    Attributes:
        columns: Column of each row's class; -1 where another process has it.
        cosines: Cosine of each row with its class, without gradient.
        norms: Length of each row before it was normalized.
        all_cosines: ``cosines`` of the whole batch, over all processes.
        all_norms: ``norms`` of the whole batch, over all processes, without gradient.
        num_classes: Number of classes on all processes together.
        group: The processes that hold the other rows or the other columns.
    """

    columns: Int[Tensor, " rows"]
    cosines: Float[Tensor, " rows"]
    norms: Float[Tensor, " rows"]
    all_cosines: Float[Tensor, " all"]
    all_norms: Float[Tensor, " all"]
    num_classes: int
    group: ProcessGroup = SINGLE_PROCESS


class Margined(NamedTuple):
    """The logits that a margin returns.

    Attributes:
        logits: Logits of a softmax cross-entropy.
        penalty: Term that is added to the loss; 0 for most margins.
    """

    logits: Float[Tensor, "rows columns"]
    penalty: Float[Tensor, ""]


class Margin(nn.Module, ABC):
    """Lowers the logit of a row's own class, so that training has to raise the cosine.

    Running statistics are persistent buffers. They change in training only.
    """

    @abstractmethod
    def forward(self, cosines: Cosines, inputs: MarginInputs) -> Margined:
        """Turn cosines into the logits of the classes on this process.

        Args:
            cosines: Cosine of each row with each class weight, in float32 or better.
            inputs: Classes, norms and statistics of the rows.
        """


def whole_batch(
    cosines: Cosines,
    labels: Int[Tensor, " rows"],
    norms: Float[Tensor, " rows"] | None = None,
) -> MarginInputs:
    """Inputs of a margin where one process has the whole batch and all classes.

    Args:
        cosines: Cosine of each row with each class weight.
        labels: Class of each row.
        norms: Length of each row; None for 1.
    """
    own = cosines.detach().gather(1, labels[:, None])[:, 0]
    norms = torch.ones_like(own) if norms is None else norms
    return MarginInputs(labels, own, norms, own, norms.detach(), cosines.shape[1])


def change_own(
    cosines: Shaped[Tensor, "rows columns"],
    columns: Int[Tensor, " rows"],
    function: Callable[[Tensor], Tensor],
) -> Shaped[Tensor, "rows columns"]:
    """Replace the cosines of rows with their own classes by a function of them.

    >>> cosines = torch.tensor([[0.5, 0.1], [0.2, 0.3]])
    >>> change_own(cosines, torch.tensor([0, -1]), lambda own: own - 0.5)
    tensor([[0.0000, 0.1000],
            [0.2000, 0.3000]])

    Args:
        cosines: Cosine of each row with each class weight, or another value of each.
        columns: Column of each row's class; -1 where another process has it.
        function: Called with the own cosine of each row, 0 where another process has it.
    """
    if cosines.shape[1] == 0:
        return cosines
    here, at = columns >= 0, columns.clamp(min=0)[:, None]
    found = cosines.gather(1, at)[:, 0]
    changed = function(found.where(here, torch.zeros_like(found)))
    # A row whose class is elsewhere puts back what it had.
    return cosines.scatter(1, at, changed.where(here, found)[:, None])


def own_values(
    values: Shaped[Tensor, "rows columns"], columns: Int[Tensor, " rows"]
) -> Shaped[Tensor, " rows"]:
    """Each row's value at its class; 0 where another process has the class."""
    if values.shape[1] == 0:
        return values.new_zeros(len(columns))
    found = values.gather(1, columns.clamp(min=0)[:, None])[:, 0]
    return found.where(columns >= 0, torch.zeros_like(found))


def plain(logits: Cosines) -> Margined:
    """Logits without a penalty."""
    return Margined(logits, logits.new_zeros(()))


def with_gradient(changed: Own, cosines: Own, gradient: Gradient) -> Own:
    """A changed cosine, with its exact gradient or with a slope of 1."""
    if gradient == "exact":
        return changed
    return cosines + (changed - cosines).detach()


def cosine_of_sum(cosines: Own, angle: float | Own) -> Own:
    """cos(θ + angle) from cos θ, with a bounded slope at θ = 0 and θ = π.

    The slope of arccos is infinite there; the slope of this, along the sphere, is at most 1.
    """
    sines = ((1 - cosines) * (1 + cosines)).clamp(min=1e-12).sqrt()
    cos, sin = cos_sin(angle)
    return cosines * cos - sines * sin


def cos_sin(angle: float | Own) -> tuple[float | Own, float | Own]:
    """Cosine and sine; of a number, so that none is copied to a device."""
    if isinstance(angle, Tensor):
        return angle.cos(), angle.sin()
    return math.cos(angle), math.sin(angle)


def angles(cosines: Own) -> Own:
    """θ in radians, without gradient."""
    return cosines.detach().clamp(-1, 1).acos()
