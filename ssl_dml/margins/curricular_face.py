"""CurricularFace: hard negatives get more weight as training goes on."""

from typing import final

import torch
from torch import Tensor

from ssl_dml.checks import at_least, in_range, positive
from ssl_dml.margins.angular import add_angle
from ssl_dml.margins.base import (
    Cosines,
    Margin,
    Margined,
    MarginInputs,
    change_own,
    cosine_of_sum,
    plain,
)


@final
class CurricularFace(Margin):
    r"""ArcFace for a row's own class, and ``cos θ (t + cos θ)`` for hard classes.

    A class j is hard where :math:`\cos\theta_j > \cos(\theta_y + m)`. t is a running mean of the
    cosines of rows with their own classes, over the whole batch on all processes. It starts at 0,
    and in training it is updated before it is used. Beyond π - m the own cosine follows ArcFace's
    ``monotone``, but other classes are compared with the plain cosine of the sum.

    >>> import torch
    >>> from ssl_dml.margins import CurricularFace, whole_batch
    >>> margin, cosines = CurricularFace(scale=10.0).eval(), torch.tensor([[0.6, 0.5, 0.1]])
    >>> margin(cosines, whole_batch(cosines, torch.tensor([0]))).logits  # class 1 is hard, t is 0
    tensor([[1.4301, 2.5000, 1.0000]])

    Args:
        scale: s, above 0.
        margin: m, in radians, at least 0.
        momentum: Weight of a new batch in t, from 0 to 1; 0.01 in the paper.

    Raises:
        ValueError: If an argument is outside its range.

    References:
        Huang et al., 2020, arXiv:2004.00288, eq. 5, 6 and 8.
    """

    t: Tensor

    def __init__(self, *, scale: float = 64.0, margin: float = 0.5, momentum: float = 0.01) -> None:
        super().__init__()
        positive(scale=scale)
        at_least(0, margin=margin)
        in_range(0, 1, momentum=momentum)
        self.scale, self.margin, self.momentum = scale, margin, momentum
        self.register_buffer("t", torch.zeros(()))

    def forward(self, cosines: Cosines, inputs: MarginInputs) -> Margined:
        """Add the margin to own angles, weight hard classes and scale all."""
        if self.training:
            self.t.lerp_(inputs.all_cosines.mean().to(self.t), self.momentum)
        limits = cosine_of_sum(inputs.cosines, self.margin)[:, None]
        # Own classes are not weighted.
        hard = change_own(cosines > limits, inputs.columns, torch.zeros_like)
        weighted = torch.where(hard, cosines * (self.t + cosines), cosines)

        def changed(own: Tensor) -> Tensor:
            return add_angle(own, self.margin, beyond_pi="monotone")

        return plain(self.scale * change_own(weighted, inputs.columns, changed))
