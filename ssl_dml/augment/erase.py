"""Random erasing and cut-out: a rectangle of an image is set to one value."""

from typing import Any, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_dml.augment.drawn import DrawnOperator, per_image, uniform
from ssl_dml.checks import in_range
from ssl_dml.types import Images


@final
class Erase(DrawnOperator):
    """Set a random rectangle of each drawn image to a value.

    Equal to kornia's ``RandomErasing`` with the same parameters (Zhong et al., 2017,
    arXiv:1708.04896, algorithm 1). With ``ratio=(1.0, 1.0)`` it is cut-out (DeVries and Taylor,
    2017, arXiv:1708.04552) whose square lies within the image.

    >>> Erase(scale=(1.0, 1.0), ratio=(1.0, 1.0), probability=1.0)(torch.ones(1, 1, 2, 2)).sum()
    tensor(0.)

    Args:
        scale: Range of the rectangle's area relative to the image's.
        ratio: Range of its height over its width. If 1 lies inside, half of the rectangles are
            higher than wide.
        value: What the pixels become, from 0 to 1.
        probability: Fraction of images in which a rectangle is erased.

    Raises:
        ValueError: If a range is impossible.
    """

    def __init__(
        self,
        *,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float = 0.0,
        probability: float = 0.5,
    ) -> None:
        in_range(0, 1, erase=probability, value=value, scale=scale[0])
        in_range(scale[0], 1, scale=scale[1])
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"erase: ratio must be a rising range above 0, got {ratio}")
        super().__init__(probability=probability)
        self.scale, self.ratio, self.value = scale, ratio, value

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw the rectangle of every image, in whole pixels."""
        count, height, width = batch_shape[0], batch_shape[-2], batch_shape[-1]
        area = uniform(count, *self.scale) * (height * width)
        ratio = self._ratio(count)
        high = (area * ratio).sqrt().round().clamp(1, height)
        wide = (area / ratio).sqrt().round().clamp(1, width)
        left, top = uniform(count, 0.0, 1.0), uniform(count, 0.0, 1.0)
        return {
            "widths": wide,
            "heights": high,
            "xs": (left * (width - wide + 1)).floor(),
            "ys": (top * (height - high + 1)).floor(),
            "values": torch.full((count,), self.value),
        }

    def _ratio(self, count: int) -> Float[Tensor, "{count}"]:
        low, high = self.ratio
        if not low < 1 < high:
            return uniform(count, low, high)
        wide, tall = uniform(count, low, 1.0), uniform(count, 1.0, high)
        return torch.where(uniform(count, 0.0, 1.0) > 0.5, wide, tall)  # noqa: PLR2004

    def change(
        self, images: Images, drawn: Bool[Tensor, " batch"], params: dict[str, Tensor]
    ) -> Images:
        """Erase the rectangles of the drawn images."""
        high = torch.where(drawn, params["heights"], 0.0)
        values = per_image(images, params["values"])
        return torch.where(_inside(images, {**params, "heights": high}), values, images)

    def apply_transform_mask(
        self,
        input: Float[Tensor, "batch channels height width"],
        params: dict[str, Any],
        flags: dict[str, Any],
        transform: Tensor | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """Set the rectangles of masks to 0; kornia calls this and leaves the others alone."""
        del flags, transform
        return torch.where(_inside(input, params), 0.0, input)


def _inside(images: Images, params: dict[str, Any]) -> Bool[Tensor, "batch 1 height width"]:
    """Which pixels lie in the rectangle of each image."""
    corners = torch.stack([params[name] for name in ("xs", "ys", "widths", "heights")])
    left, top, wide, high = corners.float().to(images.device, non_blocking=True)[:, :, None]
    row, column = (torch.arange(side, device=images.device) for side in images.shape[2:])
    across = (column >= left) & (column < left + wide)
    along = (row >= top) & (row < top + high)
    return (along[:, :, None] & across[:, None, :])[:, None]
