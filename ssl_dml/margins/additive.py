"""Softmax on cosines, without a margin and with one subtracted."""

from typing import final

from ssl_dml.checks import at_least, positive
from ssl_dml.margins.base import Cosines, Margin, Margined, MarginInputs, change_own, plain


@final
class NormalizedSoftmax(Margin):
    """``s cos θ`` for every class: no margin.

    >>> import torch
    >>> from ssl_dml.margins import NormalizedSoftmax, whole_batch
    >>> cosines = torch.tensor([[0.5, -0.25]])
    >>> NormalizedSoftmax(scale=10.0)(cosines, whole_batch(cosines, torch.tensor([0]))).logits
    tensor([[ 5.0000, -2.5000]])

    Args:
        scale: s, above 0; the inverse of a temperature.

    References:
        Wang et al., 2017, NormFace, arXiv:1704.06369, eq. 6.
    """

    def __init__(self, *, scale: float = 64.0) -> None:
        super().__init__()
        positive(scale=scale)
        self.scale = scale

    def forward(self, cosines: Cosines, inputs: MarginInputs) -> Margined:  # noqa: ARG002
        """Scale the cosines."""
        return plain(self.scale * cosines)


@final
class CosFace(Margin):
    """``s (cos θ - m)`` for a row's own class; also known as AM-softmax.

    >>> import torch
    >>> from ssl_dml.margins import CosFace, whole_batch
    >>> cosines = torch.tensor([[0.5, -0.25]])
    >>> CosFace(scale=10.0, margin=0.25)(cosines, whole_batch(cosines, torch.tensor([0]))).logits
    tensor([[ 2.5000, -2.5000]])

    Args:
        scale: s, above 0.
        margin: m, a difference of cosines, at least 0. CosFace has 0.35, insightface's recipes
            have 0.4, and AM-softmax has 0.35 with a scale of 30.

    Raises:
        ValueError: If an argument is outside its range.

    References:
        Wang et al., 2018, arXiv:1801.09414, eq. 4; Wang et al., 2018, arXiv:1801.05599.
    """

    def __init__(self, *, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__()
        positive(scale=scale)
        at_least(0, margin=margin)
        self.scale, self.margin = scale, margin

    def forward(self, cosines: Cosines, inputs: MarginInputs) -> Margined:
        """Subtract the margin from own cosines and scale all."""
        changed = change_own(cosines, inputs.columns, lambda own: own - self.margin)
        return plain(self.scale * changed)
