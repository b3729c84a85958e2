"""Random crop, flip and rotation of a batch of images in a single resampling."""

import math
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.augment.drawn import beside
from ssl_dml.checks import finite, in_range
from ssl_dml.types import Aspects, Images, sides_of


@final
class CropFlip(nn.Module):
    """Random resized crop, horizontal flip and rotation as one affine sampling.

    The box is drawn as in torchvision's ``RandomResizedCrop``: its area is uniform in ``scale``
    and its aspect ratio log-uniform in ``ratio``. A side longer than the image is shortened to
    it, and the other one until the ratio is allowed; torchvision would draw again. The box is of
    the image as it was, not as it is stored. Sampling is bilinear without a low-pass filter, as
    in kornia, and also reads the pixels just outside the box.

    >>> images = torch.arange(64.0).view(1, 1, 8, 8)
    >>> mirror = CropFlip(8, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=1.0)
    >>> torch.allclose(mirror(images), images.flip(3), atol=1e-4)
    True
    >>> CropFlip(4)(images).shape
    torch.Size([1, 1, 4, 4])

    Args:
        size: Side of the output in pixels, or height and width.
        scale: Range of the fraction of the image's area that the box covers, in (0, 1].
        ratio: Range of the box's width over its height, relative to that of the output.
        flip: Probability of a horizontal flip.
        degrees: Rotation is uniform in plus and minus this; beyond the border the image is
            mirrored.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        *,
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        degrees: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must be a rising range in (0, 1], got {scale}")
        finite(ratio=ratio)
        in_range(0, 1, flip=flip)
        in_range(0, 180, degrees=degrees)
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"ratio must be a rising range above 0, got {ratio}")
        self.sides, self.scale, self.ratio = sides_of(size), scale, ratio
        self.flip, self.degrees = flip, degrees

    def draw(self, count: int, aspects: Aspects | None = None) -> Float[Tensor, "{count} 2 3"]:
        """Draw one 2×3 matrix for each sample, from output to input coordinates in [-1, 1].

        Args:
            count: Number of samples.
            aspects: By what factor each image was wider, for its height, than it is stored.

        Returns:
            The matrices, on the host or on the device of ``aspects``.
        """
        numbers = torch.rand(6, count)
        if aspects is not None:
            numbers = numbers.to(aspects.device, non_blocking=True)
        low, high = (math.log(ratio) for ratio in self.ratio)
        area = numbers[0] * (self.scale[1] - self.scale[0]) + self.scale[0]
        ratio = (numbers[1] * (high - low) + low).exp()
        ratio = ratio if aspects is None else ratio / aspects  # of the box as it is stored
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        if aspects is not None:
            # Where a side was shortened, the ratio may be none of those that are allowed.
            widest, highest = self.ratio[1] / aspects, aspects / self.ratio[0]
            width, height = width.minimum(height * widest), height.minimum(width * highest)
        x, y = (numbers[2] * 2 - 1) * (1 - width), (numbers[3] * 2 - 1) * (1 - height)
        mirror = 1 - 2 * (numbers[4] < self.flip).float()
        angle = (numbers[5] * 2 - 1) * math.radians(self.degrees)
        cos, sin = angle.cos(), angle.sin()
        long = self.sides[1] / self.sides[0]
        rows = [
            *(width * mirror * cos, -width * sin / long, x),
            *(height * mirror * sin * long, height * cos, y),
        ]
        return torch.stack(rows, dim=1).view(count, 2, 3)

    def forward(
        self, images: Images, aspects: Aspects | None = None
    ) -> Float[Tensor, "batch channels _height _width"]:
        """Return one random view of each image."""
        return self.sample(images, self.draw(len(images), aspects))

    def sample(
        self, images: Images, matrices: Float[Tensor, "batch 2 3"]
    ) -> Float[Tensor, "batch channels _height _width"]:
        """Resample each image by its matrix."""
        matrices = beside(images, matrices)[..., None, None]
        height, width = self.sides
        down, across = (
            beside(images, (torch.arange(side) * 2 + 1 - side) / side) for side in (height, width)
        )
        # Of the grid, one part changes from row to row and the other from column to column.
        rows = torch.addcmul(matrices[:, :, 2], matrices[:, :, 1], down[:, None])
        grid = (rows + matrices[:, :, 0] * across).permute(0, 2, 3, 1)
        return F.grid_sample(
            images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
