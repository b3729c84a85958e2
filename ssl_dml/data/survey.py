"""Choose channels, size and range of values from a sample of the images; measure mean and std."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ssl_dml.data.decode import COLOR, ImageDecoder, channels_of, is_channels_first, open_pixels
from ssl_dml.data.sources import Source
from ssl_dml.data.store import Store
from ssl_dml.types import FULL_SCALE

MIXED_SIZE = 64
MAX_ORIGINAL_SIZE, LARGE_SIZE = 256, 224
SAMPLE_SIZE = 2_000
LEAST_LOSS = 0.005  # of an image, that is worth a word
MIN_STD = 1e-3  # of bytes, a quarter of a gray level; a channel below it is constant
MIN_RELATIVE_STD = 1e-6  # of floats, relative to the mean


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What up to 2,000 images spread over a source are, and what all are decoded to.

    Args:
        decoder: What every image is decoded to.
        sizes: Width and height of each image that could be opened.
        channels: How many images have each number of channels.
        values: Smallest and largest value in images of more than 8 bits; None without such.
        chosen: Why the size is not that of the images; empty if it is, or was given.
    """

    decoder: ImageDecoder
    sizes: list[tuple[int, int]]
    channels: dict[int, int]
    values: tuple[float, float] | None
    chosen: str

    @property
    def lost(self) -> float:
        """Fraction of a typical image, the median, that the crop to a square leaves out.

        >>> decoder = ImageDecoder(channels=1, size=8)
        >>> Survey(decoder=decoder, sizes=[(40, 10)], channels={}, values=None, chosen="").lost
        0.75
        """
        shares = [1 - min(size) / max(size) for size in self.sizes]
        return float(np.median(shares)) if shares else 0.0

    def metadata(self) -> dict[str, Any]:
        """Plain metadata, for what is saved."""
        ordered = sorted(self.sizes, key=math.prod)
        few = [ordered[0], ordered[len(ordered) // 2], ordered[-1]] if ordered else []
        return {
            "looked_at": len(self.sizes),
            **dict(zip(("smallest", "median", "largest"), few, strict=False)),
            "lost_by_the_crop": round(self.lost, 4),
            "images_by_channels": self.channels,
            "values": self.values,
        }

    def lines(self) -> list[str]:
        """The same for people: sizes and what a decode loses, channels, values."""
        if not self.sizes:
            return []
        ordered, size = sorted(self.sizes, key=math.prod), self.decoder.size
        smallest, median, largest = (
            "{}x{}".format(*ordered[i]) for i in (0, len(ordered) // 2, -1)
        )
        text = f"sizes: all {smallest}"
        if len({*ordered}) > 1:
            text = f"sizes: {smallest} to {largest}, median {median}"
        reason = f"{self.chosen}: decoding" if self.chosen else "decoding"
        text += f"; {reason} to {size}x{size}"
        if self.lost >= LEAST_LOSS:
            text += f", the center, which loses {self.lost:.0%} of a typical image"
        lines = [f"{text}; --data.image_size sets another" if self.chosen else text]
        if len(self.channels) > 1:
            counts = ", ".join(f"{n} in {count:,}" for n, count in sorted(self.channels.items()))
            lines.append(
                f"channels: {counts} of {len(self.sizes):,} images; all become "
                f"{self.decoder.channels}; --data.channels sets another"
            )
        if self.values is not None:
            low, high = f"{self.decoder.low:g}", f"{self.decoder.high:g}"
            text = f"values from {self.values[0]:g} to {self.values[1]:g}"
            given = "" if text == f"values from {low} to {high}" else f"; {low} to {high}"
            lines.append(f"{text}{given} become 0 to 255; --data.value_range sets others")
        return lines


def survey(
    source: Source,
    *,
    channels: int | None,
    image_size: int | None,
    value_range: tuple[float, float] | None,
) -> Survey:
    """Look at up to 2,000 images spread over the source, and choose what to decode to.

    Args:
        source: The images.
        channels: Number of channels; None for what most images have, and color if any has it.
        image_size: Side in pixels; None for the side found, with limits.
        value_range: Values that become 0 and 255; None for the range found in images of more than
            8 bits.
    """
    sizes: list[tuple[int, int]] = []
    found: Counter[int] = Counter()
    low, high, gaps, several, first = np.inf, -np.inf, 0, 0, 0
    indices = np.unique(np.linspace(0, len(source) - 1, SAMPLE_SIZE).astype(int))
    for index in indices:
        try:
            raw = source.read(int(index))
            several += getattr(raw, "n_frames", 1) > 1
            first += isinstance(raw, np.ndarray) and raw.ndim == 3 and is_channels_first(raw)  # noqa: PLR2004
            pixels = open_pixels(raw)
        except MemoryError:
            raise
        except Exception:  # decoders raise anything on damaged bytes
            continue  # decoding will report it by name
        found[channels_of(pixels)] += 1
        if isinstance(pixels, np.ndarray):
            sizes.append(pixels.shape[1::-1])
            if pixels.dtype != np.uint8:
                finite = pixels[np.isfinite(pixels)]
                gaps += finite.size < pixels.size
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        else:
            sizes.append(pixels.size)
    said = {
        "images that were looked at hold values that are not finite; NaN becomes black": gaps,
        "images that were looked at have several pages or frames; the first is read": several,
        "arrays that were looked at are read as [channels, height, width]": first,
    }
    source.notes += [f"{n:,} of {len(indices):,} {what}" for what, n in said.items() if n]
    values = (low, high) if np.isfinite(low) else None
    size, why = (image_size, "") if image_size else _choose_size({*sizes})
    low, high = value_range or ((low, high) if low < high < np.inf else (0.0, 65535.0))
    decoder = ImageDecoder(
        channels=channels or _choose_channels(found), size=size, low=low, high=high
    )
    return Survey(decoder=decoder, sizes=sizes, channels=dict(found), values=values, chosen=why)


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


def _choose_channels(found: Counter[int]) -> int:
    """The number that most images have; gray and color are one kind, and become color."""
    kinds: Counter[int] = Counter()
    for channels, count in found.items():
        kinds[COLOR if channels == 1 and found[COLOR] else channels] += count
    return max(kinds, key=lambda channels: (kinds[channels], channels), default=1)


def _choose_size(sizes: set[tuple[int, int]]) -> tuple[int, str]:
    """Choose the side to decode to; say why if it is not that of the images."""
    if len(sizes) != 1:
        return MIXED_SIZE, "images differ in size"
    side = min(next(iter(sizes)))
    return (side, "") if side <= MAX_ORIGINAL_SIZE else (LARGE_SIZE, "images are large")
