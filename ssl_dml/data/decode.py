"""Decode an image of any kind, whole, to an array of bytes of one size."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageOps

from ssl_dml.data.decoder import Decoded, Decoder
from ssl_dml.data.sources import RawImage
from ssl_dml.types import ImageSpec, sides_of

SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
COLOR = 3
MOST_CHANNELS = 16  # of arrays whose channels are first
MIN_FINITE = 0.5  # of the values of an image


@final
@dataclass(frozen=True, kw_only=True)
class ImageDecoder(Decoder):
    """Number of channels and size that every image of a data set is decoded to.

    The whole image is squashed to the size; its shape is kept beside it, and undone where views
    are made.

    >>> decoded = ImageDecoder(channels=3, size=32).decode(Image.new("L", (64, 48), 128))
    >>> decoded.values.shape, round(decoded.aspect, 3)
    ((3, 32, 32), 1.333)

    Args:
        channels: 1 for gray, 3 for color, any number for arrays.
        size: Side in pixels, or height and width.
        low: Value that becomes 0 in images of more than 8 bits, as NaN does.
        high: Value that becomes 255 in images of more than 8 bits.
    """

    channels: int
    size: int | tuple[int, int]
    low: float = 0.0
    high: float = 65535.0

    @property
    def shape(self) -> tuple[int, int, int]:  # noqa: D102 - documented in Decoder
        return self.channels, *sides_of(self.size)

    @property
    def dtype(self) -> np.dtype:  # noqa: D102
        return np.dtype(np.uint8)

    def decode(self, sample: RawImage) -> Decoded:  # noqa: D102
        pixels = open_pixels(sample)
        width, height = size_of(pixels)
        _, to_height, to_width = self.shape
        return Decoded(_resized(pixels, self), width * to_height / (height * to_width))

    def spec(self, *, mean: tuple[float, ...], std: tuple[float, ...]) -> ImageSpec:  # noqa: D102
        return ImageSpec(channels=self.channels, size=self.size, mean=mean, std=std)


def open_pixels(image: RawImage) -> Image.Image | Shaped[np.ndarray, "height width channels"]:
    """Open an image: 8-bit gray or RGB as an upright PIL image, others as a channels-last array.

    Transparent images are laid over white.

    Raises:
        ValueError: If it is no image, or most of its values are not finite.
    """
    if isinstance(image, np.ndarray):
        return _open_array(image)
    image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BIT_MODES:
        return _open_array(np.asarray(image))
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.has_transparency_data:
        gray = image.mode == "LA"
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("L" if gray else "RGB")
    return image.convert("L" if image.mode in ("LA", "La") else "RGB")


def _open_array(array: np.ndarray) -> Shaped[np.ndarray, "height width channels"]:
    if array.ndim not in (2, 3) or array.dtype.kind not in "uif" or not array.size:
        raise ValueError(f"is no image: array of shape {array.shape}, {array.dtype}")
    if (finite := np.isfinite(array).mean()) < MIN_FINITE:
        raise ValueError(f"has values of which only {finite:.0%} are finite")
    if array.ndim == 2:  # noqa: PLR2004
        return array[:, :, None]
    return np.moveaxis(array, 0, -1) if is_channels_first(array) else array


def is_channels_first(array: np.ndarray) -> bool:
    """Whether an array has its channels before height and width, told by its shape.

    It has if the first axis is of at most 16 values and the smallest.

    >>> is_channels_first(np.zeros((3, 32, 32))), is_channels_first(np.zeros((32, 32, 3)))
    (True, False)
    """
    first, *others = array.shape
    return len(others) == 2 and first <= MOST_CHANNELS and first < min(others)  # noqa: PLR2004


def channels_of(pixels: Image.Image | np.ndarray) -> int:
    """Count the channels of what :func:`open_pixels` returned."""
    return len(pixels.getbands()) if isinstance(pixels, Image.Image) else pixels.shape[2]


def size_of(pixels: Image.Image | np.ndarray) -> tuple[int, int]:
    """Width and height of what :func:`open_pixels` returned."""
    return pixels.size if isinstance(pixels, Image.Image) else pixels.shape[1::-1]


def _resized(
    pixels: Image.Image | np.ndarray, decoder: ImageDecoder
) -> UInt8[np.ndarray, "channels rows columns"]:
    """Resize an image; gray becomes color by repetition, and color becomes gray by luminance.

    Raises:
        ValueError: If the image has another number of channels and cannot be converted.
        OSError: If its file is damaged.
    """
    found = channels_of(pixels)
    if found != decoder.channels and {found, decoder.channels} != {1, COLOR}:
        raise ValueError(f"has {found} channels where the data set has {decoder.channels}")
    if isinstance(pixels, Image.Image):
        return _from_image(pixels, decoder)
    return _from_array(pixels, decoder)


def _from_image(
    image: Image.Image, decoder: ImageDecoder
) -> UInt8[np.ndarray, "channels rows columns"]:
    image = image.convert("L" if decoder.channels == 1 else "RGB")
    _, height, width = decoder.shape
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)  # noqa: PLR2004


def _from_array(
    array: Shaped[np.ndarray, "height width bands"], decoder: ImageDecoder
) -> UInt8[np.ndarray, "channels rows columns"]:
    values = array.astype(np.float32)
    if array.dtype.kind == "f":
        values = np.nan_to_num(values, nan=decoder.low, posinf=decoder.high, neginf=decoder.low)
    tensor = torch.from_numpy(values).permute(2, 0, 1)
    if array.dtype != np.uint8:
        tensor = (tensor - decoder.low) * (255 / (decoder.high - decoder.low))
    if tensor.shape[1:] != decoder.shape[1:]:
        tensor = tensor[None]
        tensor = F.interpolate(tensor, decoder.shape[1:], mode="bilinear", antialias=True)[0]
    if len(tensor) != decoder.channels:
        if len(tensor) == 1:
            tensor = tensor.repeat(COLOR, 1, 1)
        else:
            luminance = tensor.new_tensor([0.299, 0.587, 0.114])
            tensor = (luminance @ tensor.flatten(1)).view(1, *tensor.shape[1:])
    return tensor.round().clamp(0, 255).to(torch.uint8).numpy()
