"""AdaFace: the margin follows the length of a row, a measure of its quality."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.checks import at_least, in_range, positive
from ssl_dml.margins.angular import add_angle
from ssl_dml.margins.base import Margin, Margined, MarginInputs, change_own, plain

LEAST_NORM, LARGEST_NORM, EPSILON = 1e-3, 100.0, 1e-3


@final
class AdaFace(Margin):
    r"""``s (cos(θ + g_angle) - g_add)`` with margins by the norm of the row.

    .. math:: \hat z = \mathrm{clip}\Big( h \frac{|z| - \mu}{\sigma}, -1, 1 \Big), \quad
        g_{angle} = -m \hat z, \quad g_{add} = m + m \hat z

    Norms have no gradient here. μ and σ are running statistics of the whole batch on all
    processes, and move before they are used, in training only. A row of average length has
    CosFace's margin, a short one ArcFace's.

    Args:
        scale: s, above 0.
        margin: m, at least 0.
        concentration: h, above 0.
        momentum: Fraction of a new batch in the running statistics, from 0 to 1; the paper's 0.99
            for the old. The class in the authors' code has 1 by default, which keeps none.

    Raises:
        ValueError: If an argument is outside its range; in training at a batch of 1, which has
            no standard deviation.

    References:
        Kim et al., 2022, arXiv:2204.00964, eq. 13 to 17. Should longer rows be of lower quality in
        your data, as the authors note of some, look at norms before you trust the margins.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        *,
        scale: float = 64.0,
        margin: float = 0.4,
        concentration: float = 0.333,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        positive(scale=scale, concentration=concentration)
        at_least(0, margin=margin)
        in_range(0, 1, momentum=momentum)
        self.scale, self.margin = scale, margin
        self.concentration, self.momentum = concentration, momentum
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("deviation", torch.tensor(100.0))

    def forward(self, cosines: Float[Tensor, "rows columns"], inputs: MarginInputs) -> Margined:
        """Scaled cosines, the own one with the margin of its row."""
        if self.training:
            self._follow(inputs.all_norms.clamp(LEAST_NORM, LARGEST_NORM))
        norms = inputs.norms.detach().clamp(LEAST_NORM, LARGEST_NORM)
        quality = self.concentration * (norms - self.mean) / (self.deviation + EPSILON)
        quality = quality.clamp(-1, 1).to(cosines.dtype)

        def changed(own: Tensor, rows: Tensor) -> Tensor:
            angle = -self.margin * quality[rows]
            moved = add_angle(own, angle, beyond_pi="clip", least=EPSILON)
            return moved - self.margin * (1 + quality[rows])

        return plain(self.scale * change_own(cosines, inputs.columns, changed))

    def _follow(self, norms: Float[Tensor, " all"]) -> None:
        if len(norms) == 1:
            raise ValueError("AdaFace needs a batch of 2 or more: one row has no deviation")
        self.mean.lerp_(norms.mean().to(self.mean), self.momentum)
        self.deviation.lerp_(norms.std().to(self.mean), self.momentum)
