"""Decode an image of any kind, whole, to an array of bytes of one size."""

from dataclasses import dataclass
from typing import TypeGuard, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Shaped, UInt8
from PIL import ExifTags, Image, ImageOps

from ssl_dml.data.decoder import Decoded, Decoder
from ssl_dml.data.sources import RawImage
from ssl_dml.types import ImageSpec, sides_of

SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
GRAY_MODES = ("1", "L", "LA", "La")
COLOR = 3
TURNS = {  # that make an image upright, by its EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
AHEAD = 2  # a JPEG file is decoded to at least so many times the size that is wanted
MOST_CHANNELS = 16  # of arrays whose channels are first
MIN_FINITE = 0.5  # of the values of an image


@final
@dataclass(frozen=True, kw_only=True)
class ImageDecoder(Decoder):
    """Number of channels and size that every image of a data set is decoded to.

    The whole image is squashed to the size; its shape is kept beside it, and undone where views
    are made. Of a JPEG file of more than twice the size, the decoder makes a half, a quarter or an
    eighth of the sides; the rest is resized. Over photographs that differs from resizing the whole
    by 0.2 gray levels on average.

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
        if is_plain(sample):
            (width, height), values = upright_size(sample), _from_image(sample, self)
        else:
            pixels = open_pixels(sample)
            (width, height), values = size_of(pixels), _from_array(np.asarray(pixels), self)
        _, to_height, to_width = self.shape
        return Decoded(values, width * to_height / (height * to_width))

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
    ImageOps.exif_transpose(image, in_place=True)  # a copy of a large one takes as long
    return _flat(image) if is_plain(image) else _open_array(np.asarray(image))


def is_plain(image: RawImage) -> TypeGuard[Image.Image]:
    """Whether it is a PIL image of 8 bits; others are decoded as arrays."""
    return isinstance(image, Image.Image) and image.mode not in SIXTEEN_BIT_MODES


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image when it is upright, before it is decoded."""
    turned = image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
    return (image.height, image.width) if turned else image.size


def _flat(image: Image.Image) -> Image.Image:
    """Decode an image of 8 bits to gray or RGB; transparency is laid over white."""
    image.load()
    if image.mode in ("1", "L"):
        return _converted(image, "L")
    gray = image.mode in GRAY_MODES
    if image.has_transparency_data:
        image = _converted(image, "RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return _converted(image, "L" if gray else "RGB")


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """The image in another mode; itself, not a copy, if it is in that mode."""
    return image if image.mode == mode else image.convert(mode)


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
    """Count the channels of what :func:`open_pixels` returned, or will return."""
    if isinstance(pixels, Image.Image):
        return 1 if pixels.mode in GRAY_MODES else COLOR
    return pixels.shape[2]


def size_of(pixels: Image.Image | np.ndarray) -> tuple[int, int]:
    """Width and height of what :func:`open_pixels` returned."""
    return pixels.size if isinstance(pixels, Image.Image) else pixels.shape[1::-1]


def _check_channels(found: int, decoder: ImageDecoder) -> None:
    """Gray becomes color by repetition, and color becomes gray by luminance.

    Raises:
        ValueError: If the image has another number of channels and cannot be converted.
    """
    if found != decoder.channels and {found, decoder.channels} != {1, COLOR}:
        raise ValueError(f"has {found} channels where the data set has {decoder.channels}")


def _from_image(
    image: Image.Image, decoder: ImageDecoder
) -> UInt8[np.ndarray, "channels rows columns"]:
    """Decode an image of 8 bits: it is turned last, when it is small.

    Raises:
        OSError: If its file is damaged.
    """
    _check_channels(channels_of(image), decoder)
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    _, height, width = decoder.shape
    size = (height, width) if orientation in SIDEWAYS else (width, height)
    drafted = image.draft(None, (AHEAD * size[0], AHEAD * size[1]))
    image = _converted(_flat(image), "L" if decoder.channels == 1 else "RGB")
    if image.size != size:
        # Its last column and row may stand for less than a whole one of the file.
        box = None if drafted is None else drafted[1]
        image = image.resize(size, Image.Resampling.BILINEAR, box=box)
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)  # noqa: PLR2004


def _from_array(
    array: Shaped[np.ndarray, "height width bands"], decoder: ImageDecoder
) -> UInt8[np.ndarray, "channels rows columns"]:
    _check_channels(array.shape[2], decoder)
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
