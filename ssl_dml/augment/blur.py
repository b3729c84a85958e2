"""Gaussian blur of batches of images, each image with its own width, as matrix products."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_dml.augment.drawn import DrawnOperator, beside, uniform
from ssl_dml.checks import in_range
from ssl_dml.types import Images

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
        """Blur the drawn images."""
        sigma = params["sigma"].float()
        if torch.compiler.is_compiling():  # the number of images of a graph is fixed
            return self._blurred(images, torch.where(drawn, sigma, 0.0))
        rows = drawn.nonzero()[:, 0]
        there = rows.to(images.device, non_blocking=True)
        return images.index_copy(0, there, self._blurred(images[there], sigma[rows]))

    def _blurred(self, images: Images, sigma: Float[Tensor, " batch"]) -> Images:
        if not len(images):
            return images
        weights = beside(images, _weights(sigma, self.reach))
        taps = weights.repeat_interleave(images.shape[1], dim=0)[:, None, None]
        # Every channel of every image is a channel of one batch, with a kernel of its own.
        channels = _mirrored(images, self.reach).flatten(0, 1)[None]
        across = F.conv2d(channels, taps, groups=len(taps))
        return F.conv2d(across, taps.mT, groups=len(taps)).view_as(images)


def _weights(sigma: Float[Tensor, " batch"], reach: int) -> Float[Tensor, "batch kernel"]:
    """Weights of the pixels from ``-reach`` to ``reach``, which sum to 1."""
    places = torch.arange(-reach, reach + 1, device=sigma.device)
    nearness = (places / sigma[:, None].clamp(min=SHARP)).square().mul(-0.5).exp()
    # Subnormal numbers would make products many times as slow.
    nearness = torch.where(nearness > NOTHING, nearness, 0.0)
    return nearness / nearness.sum(1, keepdim=True)


def _mirrored(images: Images, reach: int) -> Float[Tensor, "batch channels _height _width"]:
    """Add ``reach`` mirrored pixels at every border, again and again where an image is short."""
    if reach < min(images.shape[2:]):
        return F.pad(images, (reach,) * 4, mode="reflect")
    for axis in (2, 3):
        size = images.shape[axis]
        period = max(2 * (size - 1), 1)
        seen = torch.arange(-reach, size + reach) % period
        seen = torch.minimum(seen, period - seen).to(images.device, non_blocking=True)
        images = images.index_select(axis, seen)
    return images
