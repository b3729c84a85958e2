"""What the images of a source have in common, from a sample of them."""

import numpy as np
import torch

from ssl_dml.data.decode import ImageDecoder, channels_of, open_pixels
from ssl_dml.data.sources import Source
from ssl_dml.data.store import Store
from ssl_dml.progress import say
from ssl_dml.types import FULL_SCALE

MIXED_SIZE = 64
LARGEST_KEPT, LARGE_SIZE = 256, 224
SURVEYED = 2_000
MIN_STD = 1e-3  # of bytes, a quarter of a gray level; a channel below it is constant
MIN_RELATIVE_STD = 1e-6  # of floats, relative to the mean


def survey(
    source: Source,
    *,
    channels: int | None,
    image_size: int | None,
    value_range: tuple[float, float] | None,
) -> ImageDecoder:
    """Channels, size and range from up to 2,000 images spread over the source.

    Args:
        source: The images.
        channels: As given, or None for the most that any of them has.
        image_size: As given, or None for theirs.
        value_range: As given, or None for theirs where they have more than 8 bits.
    """
    found, sizes = {channels or 1}, set()
    low, high = np.inf, -np.inf
    for index in np.unique(np.linspace(0, len(source) - 1, SURVEYED).astype(int)):
        try:
            pixels = open_pixels(source.read(int(index)))
        except (OSError, ValueError, SyntaxError):
            continue  # decoding meets it again and names it
        found.add(channels_of(pixels))
        if isinstance(pixels, np.ndarray):
            sizes.add(pixels.shape[1::-1])
            if pixels.dtype != np.uint8:
                low, high = min(low, float(pixels.min())), max(high, float(pixels.max()))
        else:
            sizes.add(pixels.size)
    size, why = _choose_size(sizes)
    if image_size is None and why:
        say(f"{why}: decoding to {size}x{size}; --data.image_size sets another")
    size = image_size or size
    if np.isfinite(low) and value_range is None:
        say(f"values from {low:g} to {high:g} become 0 to 255; --data.value_range sets others")
    low, high = value_range or ((low, high) if low < high < np.inf else (0.0, 65535.0))
    return ImageDecoder(channels=channels or max(found), size=size, low=low, high=high)


def normalization(store: Store, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over up to 2,000 samples, full scale being 1."""
    indices = np.unique(np.linspace(0, len(store.samples) - 1, SURVEYED).astype(int))
    first = torch.from_numpy(store.samples[indices[:1]])
    scale, axes = FULL_SCALE.get(first.dtype, 1.0), (0, *range(2, first.ndim))
    total, squares, count = np.zeros(channels), np.zeros(channels), 0
    for part in np.array_split(indices, len(indices) // 256 + 1):
        values = store.samples[part].astype(np.float64) / scale
        total += values.sum(axes)
        squares += (values**2).sum(axes)
        count += values[:, 0].size
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    smallest = MIN_STD * 255 / scale if scale > 1 else MIN_RELATIVE_STD * np.abs(mean)
    std[std <= smallest] = 1.0  # dividing a constant channel by its spread would blow up noise
    return tuple(mean.tolist()), tuple(std.tolist())


def _choose_size(sizes: set[tuple[int, int]]) -> tuple[int, str]:
    """The side to decode to, and why if it is not that of the images."""
    if len(sizes) != 1:
        return MIXED_SIZE, "images differ in size"
    side = min(next(iter(sizes)))
    return (side, "") if side <= LARGEST_KEPT else (LARGE_SIZE, "images are large")
