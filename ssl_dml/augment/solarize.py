"""Solarization: bright values are inverted."""

from typing import final

import torch
from jaxtyping import Bool
from torch import Tensor

from ssl_dml.augment.drawn import DrawnOperator, chosen, per_image, uniform
from ssl_dml.checks import in_range
from ssl_dml.types import Images


@final
class Solarize(DrawnOperator):
    """Invert the values of drawn images that are at or above a threshold.

    Equal to kornia's ``RandomSolarize`` with the same parameters, with which an image may first
    become brighter (Grill et al., 2020, arXiv:2006.07733, appendix B, has no such addition).

    >>> Solarize(probability=1.0)(torch.tensor([0.25, 0.75]).view(1, 1, 1, 2))
    tensor([[[[0.2500, 0.2500]]]])

    Args:
        thresholds: Range of the threshold; values from it on become 1 minus the value.
        additions: Range of what is added to all values first.
        probability: Fraction of images that are solarized.
    """

    def __init__(
        self,
        *,
        thresholds: tuple[float, float] = (0.5, 0.5),
        additions: tuple[float, float] = (0.0, 0.0),
        probability: float = 0.2,
    ) -> None:
        in_range(0, 1, solarize=probability, thresholds=thresholds[0])
        in_range(thresholds[0], 1, thresholds=thresholds[1])
        in_range(-0.5, 0.5, additions=additions[0])
        in_range(additions[0], 0.5, additions=additions[1])
        super().__init__(probability=probability)
        self.thresholds, self.additions = thresholds, additions

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw the threshold and the addition of every image."""
        count = batch_shape[0]
        return {
            "thresholds": uniform(count, *self.thresholds),
            "additions": uniform(count, *self.additions),
        }

    def change(
        self, images: Images, drawn: Bool[Tensor, " batch"], params: dict[str, Tensor]
    ) -> Images:
        """Invert the bright values of the drawn images."""
        more, limit = (per_image(images, params[name]) for name in ("additions", "thresholds"))
        lit = (images + more).clamp_(0, 1)
        return chosen(images, drawn, torch.where(lit < limit, lit, 1 - lit))
