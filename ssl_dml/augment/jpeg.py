"""The losses of JPEG compression, computed without a file."""

import math
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_dml.augment.drawn import DrawnOperator, chosen, per_image, uniform
from ssl_dml.checks import in_range
from ssl_dml.types import Images

BLOCK, FULL, MIDDLE, SLOPE = 8, 255.0, 128.0, 0.02
# Tables K.1 and K.2 of ITU-T T.81.
LUMA = [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
]
CHROMA = [
    [17, 18, 24, 47, 99, 99, 99, 99],
    [18, 21, 26, 66, 99, 99, 99, 99],
    [24, 26, 56, 99, 99, 99, 99, 99],
    [47, 66, 99, 99, 99, 99, 99, 99],
    *[[99] * BLOCK] * 4,
]
WEIGHTS = (0.299, 0.587, 0.114)
BLUE, RED = 0.564, 0.713  # scale the differences to the luma to Cb and Cr


@final
class JPEG(DrawnOperator):
    """Compress drawn RGB images with a random quality, and take them apart again.

    Equal to kornia's ``RandomJPEG`` with the same parameters: luma and chroma at half the side
    are quantized in blocks of 8×8 frequencies. Rounding is smooth, as in Shin and Song (2017,
    "JPEG-resistant adversarial images", eq. 3), so values are near those of a file, not equal.

    >>> images = torch.full((1, 3, 16, 16), 0.5)
    >>> torch.allclose(JPEG(quality=(90.0, 90.0), probability=1.0)(images), images, atol=0.01)
    True

    Args:
        quality: Range of the quality, from 1, the smallest file, to 100.
        probability: Fraction of images that are compressed.

    Raises:
        ValueError: If the range is impossible.
    """

    tables: Tensor
    basis: Tensor
    to_luma: Tensor
    from_luma: Tensor

    def __init__(
        self, *, quality: tuple[float, float] = (30.0, 95.0), probability: float = 0.5
    ) -> None:
        in_range(0, 1, jpeg=probability)
        in_range(1, 100, quality=quality[0])
        in_range(quality[0], 100, quality=quality[1])
        super().__init__(probability=probability)
        self.quality = quality
        steps = torch.arange(BLOCK)
        basis = (math.pi / (2 * BLOCK) * steps[:, None] * (2 * steps + 1)).cos() / 2
        basis[0] /= math.sqrt(2)
        red, green, blue = WEIGHTS
        to_luma = torch.tensor(
            [
                WEIGHTS,
                (-BLUE * red, -BLUE * green, BLUE * (1 - blue)),
                (RED * (1 - red), -RED * green, -RED * blue),
            ],
            dtype=torch.float64,
        )
        self.register_buffer("tables", torch.tensor([LUMA, CHROMA]).float(), persistent=False)
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("to_luma", to_luma.float(), persistent=False)
        self.register_buffer("from_luma", to_luma.inverse().float(), persistent=False)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw the quality of every image."""
        return {"jpeg_quality": uniform(batch_shape[0], *self.quality)}

    def change(
        self, images: Images, drawn: Bool[Tensor, " batch"], params: dict[str, Tensor]
    ) -> Images:
        """Compress the drawn images."""
        if images.shape[1] != len(WEIGHTS):
            raise ValueError(f"JPEG is for 3 channels and the images have {images.shape[1]}")
        height, width = images.shape[2:]
        spare = (0, -width % (2 * BLOCK), 0, -height % (2 * BLOCK))
        padded = F.pad(images.float().clamp(0, 1), spare, "replicate")
        planes = (self.to_luma @ padded.flatten(2)).view_as(padded) * FULL
        scale = _floor(_scale(params["jpeg_quality"].float()))
        scale = per_image(padded, scale)
        quanta = _floor(_clip((self.tables * scale + 50) / 100, 1.0, FULL))
        luma = self._coded(planes[:, :1] - MIDDLE, quanta[:, :1]) + MIDDLE
        # Chroma without color is 127.5, and the transform takes 128 away, as in the original.
        chroma = self._coded(_halved(planes[:, 1:]) - 0.5, quanta[:, 1:]) + 0.5
        chroma = F.interpolate(chroma, padded.shape[2:], mode="bilinear", align_corners=False)
        both = torch.cat([luma, chroma], dim=1) / FULL
        found = (self.from_luma @ both.flatten(2)).view_as(both).clamp(0, 1)
        return chosen(images, drawn, found[:, :, :height, :width])

    def _coded(
        self,
        planes: Float[Tensor, "batch planes height width"],
        quanta: Float[Tensor, "batch 1 8 8"],
    ) -> Float[Tensor, "batch planes height width"]:
        """Round the frequencies of each block to multiples of the quanta."""
        blocks = planes.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4)
        step = quanta[:, :, None, None]
        frequencies = self.basis @ blocks @ self.basis.mT / step
        back = self.basis.mT @ (_round(frequencies) * step) @ self.basis
        return back.transpose(3, 4).flatten(4, 5).flatten(2, 3)


def _scale(quality: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Percent by which the tables are multiplied."""
    return torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)  # noqa: PLR2004


def _halved(
    planes: Float[Tensor, "batch planes height width"],
) -> Float[Tensor, "batch planes half_height half_width"]:
    """Planes of half the side: means of two pixels each way, after a Gaussian of sigma 1/2."""
    near = math.exp(-2.0)
    side = planes.new_ones(4)
    side = F.pad(side[:2] + near, (1, 1), value=near) / (2 + 4 * near)
    kernel = torch.outer(side, side)[None, None]
    bordered = F.pad(planes.flatten(0, 1)[:, None], (1, 1, 1, 1), "reflect")
    return F.conv2d(bordered, kernel, stride=2).unflatten(0, planes.shape[:2])[:, :, 0]


def _round(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    whole = values.round()
    return whole + (values - whole) ** 3


def _floor(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    whole = values.floor()
    return whole + (values - 0.5 - whole) ** 3


def _clip(values: Float[Tensor, "..."], low: float, high: float) -> Float[Tensor, "..."]:
    """Limit values, with a small slope beyond the limits."""
    over, under = (values - high).clamp(min=0), (low - values).clamp(min=0)
    return values.clamp(low, high) + SLOPE * ((-under).exp() - (-over).exp())
