"""MagFace: a margin that grows with the length of a row, and a reward for length."""

from typing import final

from torch import Tensor

from ssl_dml.checks import at_least, finite, positive
from ssl_dml.margins.angular import BeyondPi, add_angle
from ssl_dml.margins.base import Cosines, Margin, Margined, MarginInputs, change_own


@final
class MagFace(Margin):
    r"""``s cos(θ + m(a))`` for a row's own class, where a is the length of the row.

    .. math:: m(a) = m_l + \frac{(m_u - m_l)(a - l)}{u - l}, \quad
        \text{penalty} = \lambda_g \, \mathrm{mean} \Big( \frac{a}{u^2} + \frac1a \Big)

    a is clipped to the range from l to u. Inside it has gradient.

    >>> import torch
    >>> from ssl_dml.margins import MagFace, whole_batch
    >>> cosines = torch.tensor([[0.6, 0.1]])
    >>> inputs = whole_batch(cosines, torch.tensor([0]), torch.tensor([10.0]))
    >>> logits, penalty = MagFace(scale=10.0)(cosines, inputs)
    >>> logits, round(penalty.item(), 4)  # 10 cos(acos(0.6) + 0.45), and 35 (10 / 110² + 1 / 10)
    (tensor([[1.9230, 1.0000]]), 3.5289)

    Args:
        scale: s, above 0.
        lengths: l and u.
        margins: :math:`m_l` and :math:`m_u`, in radians.
        weight: :math:`\lambda_g`, at least 0; 35 in the authors' scripts.
        beyond_pi: As in :class:`ArcFace`; the authors' recipes have ``easy``.

    Raises:
        ValueError: If an argument is outside its range.

    References:
        Meng et al., 2021, arXiv:2103.06627, eq. 2 and sec. 3.3.
    """

    def __init__(
        self,
        *,
        scale: float = 64.0,
        lengths: tuple[float, float] = (10.0, 110.0),
        margins: tuple[float, float] = (0.45, 0.8),
        weight: float = 35.0,
        beyond_pi: BeyondPi = "easy",
    ) -> None:
        super().__init__()
        positive(scale=scale)
        finite(lengths=lengths, margins=margins)
        if not 0 < lengths[0] < lengths[1]:
            raise ValueError(f"lengths must rise from above 0, got {lengths}")
        if not 0 <= margins[0] <= margins[1]:
            raise ValueError(f"margins must not fall, and be at least 0, got {margins}")
        at_least(0, weight=weight)
        self.scale, self.lengths, self.margins = scale, lengths, margins
        self.weight = weight
        self.beyond_pi: BeyondPi = beyond_pi

    def forward(self, cosines: Cosines, inputs: MarginInputs) -> Margined:
        """Add the margin of each row to its own angle, scale all, and penalize short rows."""
        (least, most), (low, high) = self.lengths, self.margins
        lengths = inputs.norms.to(cosines).clamp(least, most)
        angles = low + (high - low) * (lengths - least) / (most - least)

        def changed(own: Tensor) -> Tensor:
            return add_angle(own, angles, beyond_pi=self.beyond_pi)

        logits = self.scale * change_own(cosines, inputs.columns, changed)
        return Margined(logits, self.weight * (lengths / most**2 + 1 / lengths).mean())
