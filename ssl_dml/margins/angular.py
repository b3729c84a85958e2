"""Margins that are added to the angle."""

import math
from typing import Literal, final

import torch
from torch import Tensor

from ssl_dml.checks import at_least, positive
from ssl_dml.margins.base import (
    Cosines,
    Gradient,
    Margin,
    Margined,
    MarginInputs,
    Own,
    angles,
    change_own,
    cos_sin,
    cosine_of_sum,
    plain,
    with_gradient,
)

BeyondPi = Literal["raw", "monotone", "easy", "clip"]


def add_angle(cosines: Own, angle: float | Own, *, beyond_pi: BeyondPi, least: float = 1e-4) -> Own:
    """cos(θ + angle), with a choice of what to do where the sum exceeds π.

    Args:
        cosines: cos θ.
        angle: Added angle in radians. Only ``clip`` may have negative ones; it keeps the sum
            above 0 too.
        beyond_pi: What replaces the cosine of a sum beyond π; see :class:`ArcFace`.
        least: Smallest distance of the sum from 0 and π that ``clip`` allows, in radians.
    """
    summed = cosine_of_sum(cosines, angle)
    if beyond_pi == "raw":
        return summed
    if beyond_pi == "monotone":
        cos, sin = cos_sin(angle)
        return torch.where(cosines > -cos, summed, cosines - angle * sin)
    if beyond_pi == "easy":
        return torch.where(cosines > 0, summed, cosines)
    reached = angles(cosines) + angle
    ends = reached.clamp(least, math.pi - least).cos()
    return torch.where((reached > least) & (reached < math.pi - least), summed, ends)


@final
class ArcFace(Margin):
    """``s cos(θ + m)`` for a row's own class.

    Beyond θ = π - m the cosine of the sum rises again, so a row at the far side would be pulled
    even further away. Published codes differ in what they do there:

    - ``raw``: nothing, the paper's equation; insightface's PyTorch code today, and its MXNet code.
    - ``monotone``: ``cos θ - m sin m``, which jumps at π - m; pytorch-metric-learning,
      open-metric-learning, CurricularFace, and insightface until the end of 2022.
    - ``easy``: ``cos θ`` already from θ = π / 2 on; the ``easy_margin`` of the same codes.
    - ``clip``: ``cos(min(θ + m, π - 1e-4))``, without gradient; AdaFace's code.

    >>> import torch
    >>> from ssl_dml.margins import ArcFace, whole_batch
    >>> cosines = torch.tensor([[0.6, 0.1]])
    >>> ArcFace(scale=10.0)(cosines, whole_batch(cosines, torch.tensor([0]))).logits
    tensor([[1.4301, 1.0000]])
    >>> round(10 * math.cos(math.acos(0.6) + 0.5), 4)
    1.4301

    Args:
        scale: s, above 0. A softmax over few classes learns better with a smaller one; see
            :class:`AdaCos`.
        margin: m, in radians, from 0 to π / 2; pytorch-metric-learning's is in degrees.
        beyond_pi: What replaces the cosine of a sum beyond π.
        gradient: ``exact`` is the gradient of the value. ``straight_through`` replaces the slope
            of the margin by 1. insightface has done so since the end of 2022, and so have results
            published with it since. Choose it for a network that starts from random weights with
            a large s: there all rows are alike and at right angles to their classes, and the
            exact slope, sin(θ + m) / sin θ = cos m, pulls them to their own class less than the
            other classes push. All rows then end at the far side of all class weights
            (``own_cosine`` falls to -1).

    Raises:
        ValueError: If ``scale`` or ``margin`` is outside its range.

    References:
        Deng et al., 2019, arXiv:1801.07698, eq. 3.
    """

    def __init__(
        self,
        *,
        scale: float = 64.0,
        margin: float = 0.5,
        beyond_pi: BeyondPi = "raw",
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__()
        positive(scale=scale)
        if not 0 <= margin <= math.pi / 2:
            raise ValueError(f"margin must be from 0 to pi / 2 radians, got {margin}")
        self.scale, self.margin = scale, margin
        self.beyond_pi: BeyondPi = beyond_pi
        self.gradient: Gradient = gradient

    def forward(self, cosines: Cosines, inputs: MarginInputs) -> Margined:
        """Add the margin to the angle of own cosines and scale all."""

        def changed(own: Tensor) -> Tensor:
            added = add_angle(own, self.margin, beyond_pi=self.beyond_pi)
            return with_gradient(added, own, self.gradient)

        return plain(self.scale * change_own(cosines, inputs.columns, changed))


@final
class CombinedMargin(Margin):
    """``s (cos(m1 θ + m2) - m3)`` for a row's own class.

    (1, m, 0) is :class:`ArcFace` and (1, 0, m) is :class:`CosFace`. An angle beyond π is replaced
    by π, without gradient.

    >>> import torch
    >>> from ssl_dml.margins import CombinedMargin, whole_batch
    >>> cosines = torch.tensor([[0.6, 0.1]])
    >>> CombinedMargin(scale=10.0)(cosines, whole_batch(cosines, torch.tensor([0]))).logits
    tensor([[1.3679, 1.0000]])
    >>> round(10 * (math.cos(math.acos(0.6) + 0.3) - 0.2), 4)
    1.3679

    Args:
        scale: s, above 0.
        m1: Factor of the angle, at least 0. The paper has 1 and 0.9.
        m2: Added angle in radians, at least 0. The paper has 0.3 and 0.4.
        m3: Subtracted from the cosine, at least 0. The paper has 0.2 and 0.15.
        gradient: As in :class:`ArcFace`. insightface's own class of this name ignores ``m2``
            where ``m3`` is given, and fails where m1 is not 1.

    Raises:
        ValueError: If an argument is outside its range.

    References:
        Deng et al., 2019, arXiv:1801.07698, eq. 4 and table 2.
    """

    def __init__(
        self,
        *,
        scale: float = 64.0,
        m1: float = 1.0,
        m2: float = 0.3,
        m3: float = 0.2,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__()
        positive(scale=scale)
        at_least(0, m1=m1, m2=m2, m3=m3)
        self.scale, self.m1, self.m2, self.m3 = scale, m1, m2, m3
        self.gradient: Gradient = gradient

    def forward(self, cosines: Cosines, inputs: MarginInputs) -> Margined:
        """Apply the three margins to own cosines and scale all."""

        def changed(own: Tensor) -> Tensor:
            # Keeps the slope of arccos finite at both ends.
            inside = own.clamp(-1 + 1e-7, 1 - 1e-7) if own.dtype == torch.float32 else own
            theta = inside.clamp(-1 + 1e-12, 1 - 1e-12).acos()
            moved = (self.m1 * theta + self.m2).clamp(max=math.pi).cos() - self.m3
            return with_gradient(moved, own, self.gradient)

        return plain(self.scale * change_own(cosines, inputs.columns, changed))
