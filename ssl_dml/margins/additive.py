"""Softmax on cosines, plain and with a margin subtracted."""

from typing import final

from jaxtyping import Float
from torch import Tensor

from ssl_dml.checks import at_least, positive
from ssl_dml.margins.base import Margin, Margined, MarginInputs, change_own, plain


@final
class NormalizedSoftmax(Margin):
    """``s cos θ`` for every class: no margin.

    Args:
        scale: s, above 0; the inverse of a temperature.

    References:
        Wang et al., 2017, NormFace, arXiv:1704.06369, eq. 6.
    """

    def __init__(self, *, scale: float = 64.0) -> None:
        super().__init__()
        positive(scale=scale)
        self.scale = scale

    def forward(
        self,
        cosines: Float[Tensor, "rows columns"],
        inputs: MarginInputs,  # noqa: ARG002 - the contract's
    ) -> Margined:
        """Scaled cosines."""
        return plain(self.scale * cosines)


@final
class CosFace(Margin):
    """``s (cos θ - m)`` for a row's own class; also known as AM-softmax.

    Args:
        scale: s, above 0.
        margin: m, a difference of cosines, at least 0. CosFace has 0.35; insightface's recipes
            0.4; AM-softmax 0.35 with a scale of 30.

    References:
        Wang et al., 2018, arXiv:1801.09414, eq. 4; Wang et al., 2018, arXiv:1801.05599.
    """

    def __init__(self, *, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__()
        positive(scale=scale)
        at_least(0, margin=margin)
        self.scale, self.margin = scale, margin

    def forward(self, cosines: Float[Tensor, "rows columns"], inputs: MarginInputs) -> Margined:
        """Scaled cosines, the own one less the margin."""
        changed = change_own(cosines, inputs.columns, lambda own, _: own - self.margin)
        return plain(self.scale * changed)
