"""Choose channels, size and range of values from a sample of the images; measure mean and std."""

import numpy as np
import torch

from ssl_dml.data.decode import ImageDecoder, channels_of, open_pixels
from ssl_dml.data.sources import Source
from ssl_dml.data.store import Store
from ssl_dml.progress import say
from ssl_dml.types import FULL_SCALE

MIXED_SIZE = 64
MAX_ORIGINAL_SIZE, LARGE_SIZE = 256, 224
SAMPLE_SIZE = 2_000
MIN_STD = 1e-3  # of bytes, a quarter of a gray level; a channel below it is constant
MIN_RELATIVE_STD = 1e-6  # of floats, relative to the mean


def survey(
    source: Source,
    *,
    channels: int | None,
    image_size: int | None,
    value_range: tuple[float, float] | None,
) -> ImageDecoder:
    """Choose what to decode to, from up to 2,000 images spread over the source.

    Args:
        source: The images.
        channels: Number of channels; None for the largest number found.
        image_size: Side in pixels; None for the side found, with limits.
        value_range: Values that become 0 and 255; None for the range found in images of more than
            8 bits.
    """
    found, sizes = {channels or 1}, set()
    low, high, gaps = np.inf, -np.inf, 0
    indices = np.unique(np.linspace(0, len(source) - 1, SAMPLE_SIZE).astype(int))
    for index in indices:
        try:
            pixels = open_pixels(source.read(int(index)))
        except MemoryError:
            raise
        except Exception:  # decoders raise anything on damaged bytes
            continue  # decoding will report it by name
        found.add(channels_of(pixels))
        if isinstance(pixels, np.ndarray):
            sizes.add(pixels.shape[1::-1])
            if pixels.dtype != np.uint8:
                finite = pixels[np.isfinite(pixels)]
                gaps += finite.size < pixels.size
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        else:
            sizes.add(pixels.size)
    if gaps:
        source.notes.append(
            f"{gaps:,} of {len(indices):,} images that were looked at hold values that are not "
            "finite; NaN becomes black"
        )
    size, why = _choose_size(sizes)
    if image_size is None and why:
        say(f"{why}: decoding to {size}x{size}; --data.image_size sets another")
    size = image_size or size
    if np.isfinite(low) and value_range is None:
        say(f"values from {low:g} to {high:g} become 0 to 255; --data.value_range sets others")
    low, high = value_range or ((low, high) if low < high < np.inf else (0.0, 65535.0))
    return ImageDecoder(channels=channels or max(found), size=size, low=low, high=high)


def normalization(store: Store, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over up to 2,000 samples; full scale is 1."""
    indices = np.unique(np.linspace(0, len(store.samples) - 1, SAMPLE_SIZE).astype(int))
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
    std[std <= smallest] = 1.0  # a constant channel: division would amplify noise
    return tuple(mean.tolist()), tuple(std.tolist())


def _choose_size(sizes: set[tuple[int, int]]) -> tuple[int, str]:
    """Choose the side to decode to; say why if it is not that of the images."""
    if len(sizes) != 1:
        return MIXED_SIZE, "images differ in size"
    side = min(next(iter(sizes)))
    return (side, "") if side <= MAX_ORIGINAL_SIZE else (LARGE_SIZE, "images are large")
