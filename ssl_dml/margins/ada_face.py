"""AdaFace: a margin that depends on the length of a row, a measure of image quality."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.checks import at_least, in_range, positive
from ssl_dml.margins.angular import add_angle
from ssl_dml.margins.base import Cosines, Margin, Margined, MarginInputs, change_own, plain

LEAST_NORM, LARGEST_NORM, EPSILON = 1e-3, 100.0, 1e-3


@final
class AdaFace(Margin):
    r"""``s (cos(θ + g_angle) - g_add)``, with margins that depend on the norm of the row.

    .. math:: \hat z = \mathrm{clip}\Big( h \frac{|z| - \mu}{\sigma}, -1, 1 \Big), \quad
        g_{angle} = -m \hat z, \quad g_{add} = m + m \hat z

    Norms have no gradient here. μ and σ are running mean and standard deviation of the norms on
    all processes. In training they are updated before they are used. A row of average length has
    CosFace's margin, and a short one ArcFace's.

    >>> import torch
    >>> from ssl_dml.margins import AdaFace, whole_batch
    >>> margin, cosines = AdaFace(scale=10.0).eval(), torch.tensor([[0.6, 0.1]])
    >>> inputs = whole_batch(cosines, torch.tensor([0]), margin.mean[None])  # of average length
    >>> margin(cosines, inputs).logits
    tensor([[2.0000, 1.0000]])

    Args:
        scale: s, above 0.
        margin: m, at least 0.
        concentration: h, above 0.
        momentum: Weight of a new batch in the running statistics, from 0 to 1. The paper gives
            the old ones 0.99. The class in the authors' code has 1 by default, which forgets
            them.

    Raises:
        ValueError: If an argument is outside its range; in training for a batch of 1, which has
            no standard deviation.

    References:
        Kim et al., 2022, arXiv:2204.00964, eq. 13 to 17. The authors note data in which longer rows
        have lower quality: check the norms in yours.
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

    def forward(self, cosines: Cosines, inputs: MarginInputs) -> Margined:
        """Give each own cosine the margin of its row and scale all."""
        if self.training:
            self._follow(inputs.all_norms.clamp(LEAST_NORM, LARGEST_NORM))
        norms = inputs.norms.detach().clamp(LEAST_NORM, LARGEST_NORM)
        quality = self.concentration * (norms - self.mean) / (self.deviation + EPSILON)
        quality = quality.clamp(-1, 1).to(cosines.dtype)

        def changed(own: Tensor) -> Tensor:
            angle = -self.margin * quality
            moved = add_angle(own, angle, beyond_pi="clip", least=EPSILON)
            return moved - self.margin * (1 + quality)

        return plain(self.scale * change_own(cosines, inputs.columns, changed))

    def _follow(self, norms: Float[Tensor, " all"]) -> None:
        if len(norms) == 1:
            raise ValueError("AdaFace needs a batch of 2 or more: one row has no deviation")
        self.mean.lerp_(norms.mean().to(self.mean), self.momentum)
        self.deviation.lerp_(norms.std().to(self.mean), self.momentum)
