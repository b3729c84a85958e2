"""CurricularFace: hard negatives weigh more as training goes on."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.checks import at_least, in_range, positive
from ssl_dml.margins.angular import add_angle
from ssl_dml.margins.base import (
    Margin,
    Margined,
    MarginInputs,
    change_own,
    cosine_of_sum,
    plain,
)


@final
class CurricularFace(Margin):
    r"""ArcFace for a row's own class; others closer than that are multiplied by ``t + cos θ``.

    A class j counts as hard where :math:`\cos\theta_j > \cos(\theta_y + m)`. t is a running mean
    of the cosines of rows with their own classes, over the whole batch on all processes; it
    begins at 0 and moves before it is used, in training only. Beyond π - m the own cosine is
    that of ArcFace's ``monotone``, but others are compared with the plain one.

    Args:
        scale: s, above 0.
        margin: m, in radians, at least 0.
        momentum: Fraction of a new batch in t, from 0 to 1; 0.01 in the paper.

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

    def forward(self, cosines: Float[Tensor, "rows columns"], inputs: MarginInputs) -> Margined:
        """Scaled cosines, own ones with a margin and hard ones with their weight."""
        if self.training:
            self.t.lerp_(inputs.all_cosines.mean().to(self.t), self.momentum)
        limits = cosine_of_sum(inputs.cosines, self.margin)[:, None]
        weighted = torch.where(cosines > limits, cosines * (self.t + cosines), cosines)
        rows = (inputs.columns >= 0).nonzero()[:, 0]
        places = (rows, inputs.columns[rows])
        weighted = weighted.index_put(places, cosines[places])  # as it was before its weight

        def changed(own: Tensor, _: Tensor) -> Tensor:
            return add_angle(own, self.margin, beyond_pi="monotone")

        return plain(self.scale * change_own(weighted, inputs.columns, changed))
