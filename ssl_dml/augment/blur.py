"""Gaussian blur of batches of images, each image with its own width, as matrix products."""

import math
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_dml.augment.drawn import DrawnOperator, beside, uniform
from ssl_dml.checks import in_range
from ssl_dml.types import Images

# Rows and columns that one product makes; a longer axis is cut, as most of its matrix is zero.
PIECE = 64
# Below this width in pixels the next pixel's weight is zero.
SHARP = 1e-3
NOTHING = 1e-20


@final
class GaussianBlur(DrawnOperator):
    """Blur drawn images by a Gaussian kernel whose sigma is uniform in a range.

    Beyond its border an image is mirrored. Equal to kornia's ``RandomGaussianBlur`` with the same
    parameters, but an image shorter than the kernel is mirrored again, where kornia raises.

    >>> blur = GaussianBlur(3, sigma=(100.0, 100.0), probability=1.0)
    >>> blur(torch.eye(3).view(1, 1, 3, 3)).flatten()[4]  # the mean of nine pixels
    tensor(0.3333)

    Args:
        kernel: Side of the kernel in pixels, odd.
        sigma: Range of the standard deviation in pixels.
        probability: Fraction of images that are blurred.

    Raises:
        ValueError: If ``kernel`` is even or a range is impossible.
    """

    def __init__(
        self, kernel: int, *, sigma: tuple[float, float] = (0.1, 2.0), probability: float = 0.5
    ) -> None:
        in_range(0, 1, blur=probability)
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"blur: kernel must be odd and at least 1, got {kernel}")
        if not 0 <= sigma[0] <= sigma[1]:
            raise ValueError(f"blur: sigma must be a rising range from 0, got {sigma}")
        super().__init__(probability=probability)
        self.reach, self.sigma = kernel // 2, sigma

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw the sigma of every image."""
        return {"sigma": uniform(batch_shape[0], *self.sigma)}

    def change(
        self, images: Images, drawn: Bool[Tensor, " batch"], params: dict[str, Tensor]
    ) -> Images:
        """Blur the drawn images; the kernel of the others has one weight."""
        sigma = torch.where(drawn, params["sigma"].float(), 0.0)
        height, width = images.shape[2:]
        weights = beside(images.float(), _weights(sigma, self.reach))
        columns = _mirrored(weights, width).to(images.dtype)
        rows = columns if height == width else _mirrored(weights, height).to(images.dtype)
        across = _across(images.flatten(1, 2), columns, self.reach).view_as(images)
        every = rows[:, None].expand(-1, images.shape[1], -1, -1).flatten(0, 1)
        return _down(across.flatten(0, 1), every, self.reach).view_as(images)


def _weights(sigma: Float[Tensor, " batch"], reach: int) -> Float[Tensor, "batch kernel"]:
    """Weights of the pixels from ``-reach`` to ``reach``, which sum to 1."""
    places = torch.arange(-reach, reach + 1, device=sigma.device)
    nearness = (places / sigma[:, None].clamp(min=SHARP)).square().mul(-0.5).exp()
    # Subnormal numbers would make products many times as slow.
    nearness = torch.where(nearness > NOTHING, nearness, 0.0)
    return nearness / nearness.sum(1, keepdim=True)


def _mirrored(
    weights: Float[Tensor, "batch kernel"], size: int
) -> Float[Tensor, "batch {size} {size}"]:
    """Weight of each input pixel of an axis in each output pixel, the borders being mirrors."""
    reach = weights.shape[1] // 2
    shifts, places = torch.arange(-reach, reach + 1), torch.arange(size)
    period = max(2 * (size - 1), 1)
    seen = (shifts[:, None] + places) % period
    seen = torch.minimum(seen, period - seen).to(weights.device, non_blocking=True)
    hits = seen[:, :, None] == torch.arange(size, device=weights.device)
    return (weights @ hits.flatten(1).to(weights.dtype)).view(-1, size, size)


def _across(
    images: Float[Tensor, "many height width"],
    columns: Float[Tensor, "many width width"],
    reach: int,
) -> Float[Tensor, "many height width"]:
    """Apply each matrix along the last axis."""
    pieces = [
        images[:, :, low:high] @ columns[:, start:stop, low:high].mT
        for start, stop, low, high in _pieces(images.shape[2], reach)
    ]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)


def _down(
    images: Float[Tensor, "many height width"],
    rows: Float[Tensor, "many height height"],
    reach: int,
) -> Float[Tensor, "many height width"]:
    """Apply each matrix along the last axis but one."""
    pieces = [
        rows[:, start:stop, low:high] @ images[:, low:high]
        for start, stop, low, high in _pieces(images.shape[1], reach)
    ]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)


def _pieces(size: int, reach: int) -> list[tuple[int, int, int, int]]:
    """Cut an axis: first and last pixel that a product makes, and those that it reads."""
    count = math.ceil(size / PIECE)
    cuts = [size * number // count for number in range(count + 1)]
    return [
        (start, stop, max(0, start - reach), min(size, stop + reach))
        for start, stop in pairwise(cuts)
    ]
