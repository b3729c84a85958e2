"""One picture of any kind becomes a square uint8 array of known channels and size."""

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps

from ssl_dml.data.form import Form
from ssl_dml.data.sources import Picture
from ssl_dml.types import ImageSpec

SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
COLOUR = 3


@final
@dataclass(frozen=True, kw_only=True)
class Format(Form):
    """What every picture of a data set is decoded to.

    Args:
        channels: 1 for gray, 3 for colour, any number for arrays.
        size: Side of the square; the shorter side is scaled to it and the middle kept.
        low: Value that becomes 0 in pictures of more than 8 bits.
        high: Value that becomes 255 in those.
    """

    noun: ClassVar[str] = "picture"
    channels: int
    size: int
    low: float = 0.0
    high: float = 65535.0

    @property
    def shape(self) -> tuple[int, int, int]:  # noqa: D102 - documented in Form
        return self.channels, self.size, self.size

    @property
    def dtype(self) -> np.dtype:  # noqa: D102
        return np.dtype(np.uint8)

    def decode(self, sample: Picture) -> UInt8[np.ndarray, "channels size size"]:  # noqa: D102
        return decode(sample, self)

    def spec(self, *, mean: tuple[float, ...], std: tuple[float, ...]) -> ImageSpec:  # noqa: D102
        return ImageSpec(channels=self.channels, size=self.size, mean=mean, std=std)


def open_pixels(picture: Picture) -> Image.Image | Shaped[np.ndarray, "height width channels"]:
    """Upright 8-bit gray or RGB as a PIL image; everything else as an array, channels last.

    Transparent pictures are laid over white.
    """
    if isinstance(picture, np.ndarray):
        if picture.ndim not in (2, 3) or picture.dtype.kind not in "uif" or not picture.size:
            raise ValueError(f"is no picture: array of shape {picture.shape}, {picture.dtype}")
        return picture if picture.ndim == 3 else picture[:, :, None]  # noqa: PLR2004
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in SIXTEEN_BIT_MODES:
        return np.asarray(picture)[:, :, None]
    if picture.mode in ("1", "L"):
        return picture.convert("L")
    if picture.has_transparency_data:
        gray = picture.mode == "LA"
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("L" if gray else "RGB")
    return picture.convert("L" if picture.mode in ("LA", "La") else "RGB")


def channels_of(pixels: Image.Image | np.ndarray) -> int:
    """Number of channels of what :func:`open_pixels` returned."""
    return len(pixels.getbands()) if isinstance(pixels, Image.Image) else pixels.shape[2]


def decode(picture: Picture, form: Format) -> UInt8[np.ndarray, "channels size size"]:
    """Decode a picture to a format.

    Gray becomes colour by repetition and colour gray by luminance.

    Raises:
        ValueError: If the picture's channels cannot become those of the format.
        OSError: If its file is damaged.
    """
    pixels = open_pixels(picture)
    found = channels_of(pixels)
    if found != form.channels and {found, form.channels} != {1, COLOUR}:
        raise ValueError(f"has {found} channels where the data set has {form.channels}")
    if isinstance(pixels, Image.Image):
        return _from_image(pixels, form)
    return _from_array(pixels, form)


def _from_image(image: Image.Image, form: Format) -> UInt8[np.ndarray, "channels size size"]:
    image = image.convert("L" if form.channels == 1 else "RGB")
    if image.size != (form.size, form.size):
        image = ImageOps.fit(image, (form.size, form.size), Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)  # noqa: PLR2004


def _from_array(
    array: Shaped[np.ndarray, "height width bands"], form: Format
) -> UInt8[np.ndarray, "channels size size"]:
    tensor = torch.from_numpy(array.astype(np.float32)).permute(2, 0, 1)
    if array.dtype != np.uint8:
        tensor = (tensor - form.low) * (255 / (form.high - form.low))
    height, width = tensor.shape[1:]
    if (height, width) != (form.size, form.size):
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        tensor = tensor[None, :, top : top + side, left : left + side]
        tensor = F.interpolate(tensor, (form.size, form.size), mode="bilinear", antialias=True)[0]
    if len(tensor) != form.channels:
        luminance = tensor.new_tensor([0.299, 0.587, 0.114])
        gray = len(tensor) == 1
        tensor = (
            tensor.repeat(COLOUR, 1, 1)
            if gray
            else (luminance @ tensor.flatten(1)).view(1, form.size, form.size)
        )
    return tensor.round().clamp(0, 255).to(torch.uint8).numpy()
