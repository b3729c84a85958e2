"""Choose channels, size and range of values from a sample of the images; measure mean and std."""

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from ssl_dml.cores import cores
from ssl_dml.data import budget
from ssl_dml.data.decode import (
    COLOR,
    ImageDecoder,
    channels_of,
    is_channels_first,
    is_plain,
    open_pixels,
    size_of,
    upright_size,
)
from ssl_dml.data.sources import Source
from ssl_dml.data.store import Store
from ssl_dml.types import FULL_SCALE, ConfigError, TestView

LARGEST, LARGEST_WITHOUT_ACCELERATOR, SMALLEST = 256, 96, 16
STEP, STEP_FROM = 32, 64  # sizes from 64 pixels are multiples of 32, which most networks take
MOST_LOST = 0.4  # of a typical image outside its center, above which all of it is squashed
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
        test_view: What a network sees of an image at test time.
    """

    decoder: ImageDecoder
    sizes: list[tuple[int, int]]
    channels: dict[int, int]
    values: tuple[float, float] | None
    chosen: str
    test_view: TestView

    @property
    def lost(self) -> float:
        """Fraction of a typical image, the median, that a network does not see at test time."""
        return outside(self.sizes, self.decoder) if self.test_view == "center" else 0.0

    def metadata(self) -> dict[str, Any]:
        """Plain metadata, for what is saved."""
        ordered = sorted(self.sizes, key=math.prod)
        few = [ordered[0], ordered[len(ordered) // 2], ordered[-1]] if ordered else []
        return {
            "looked_at": len(self.sizes),
            **dict(zip(("smallest", "median", "largest"), few, strict=False)),
            "test_view": self.test_view,
            "lost_at_test_time": round(self.lost, 4),
            "images_by_channels": self.channels,
            "values": self.values,
        }

    def lines(self) -> list[str]:
        """The same for people: sizes and what a decode loses, channels, values."""
        if not self.sizes:
            return []
        ordered, (height, width) = sorted(self.sizes, key=math.prod), self.decoder.shape[1:]
        smallest, median, largest = (
            "{}x{}".format(*ordered[i]) for i in (0, len(ordered) // 2, -1)
        )
        text = f"sizes: all {smallest}"
        if len({*ordered}) > 1:
            text = f"sizes: {smallest} to {largest}, median {median}"
        reason = f"{self.chosen}: decoding" if self.chosen else "decoding"
        text += f"; {reason} to {width}x{height}"
        lines = [f"{text}; --data.image_size sets another" if self.chosen else text]
        if outside(self.sizes, self.decoder) >= LEAST_LOSS:
            lines += [self._shape()]
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

    def _shape(self) -> str:
        """What becomes of images of another shape, in words."""
        aspect = float(np.median([width / height for width, height in self.sizes]))
        shape = f"{aspect:.1f} times as wide as high"
        if aspect < 1:
            shape = f"{1 / aspect:.1f} times as high as wide"
        sees = {"center": f"the center, {1 - self.lost:.0%} of it", "squash": "all of it, squashed"}
        seen = sees.get(self.test_view, "all of it, with borders")
        return (
            f"shape: typically {shape}; test view: {seen}; --data.test_view sets another, "
            "--data.image_size [height,width] a rectangle"
        )


def survey(
    source: Source,
    *,
    channels: int | None,
    image_size: int | tuple[int, int] | None,
    value_range: tuple[float, float] | None,
    test_view: TestView | None,
) -> Survey:
    """Look at up to 2,000 images spread over the source, and choose what to decode to.

    Args:
        source: The images.
        channels: Number of channels; None for what most images have, and color if any has it.
        image_size: Side in pixels, or height and width; None for the side found, with limits.
        value_range: Values that become 0 and 255; None for the range found in images of more than
            8 bits.
        test_view: What a network sees at test time; None for the center unless much is outside.
    """
    sizes: list[tuple[int, int]] = []
    found: Counter[int] = Counter()
    low, high, gaps, several, first = np.inf, -np.inf, 0, 0, 0
    indices = np.unique(np.linspace(0, len(source) - 1, SAMPLE_SIZE).astype(int))
    with ThreadPoolExecutor(cores()) as pool:
        for one in pool.map(partial(_look, source), indices.tolist()):
            if one is None:
                continue  # decoding will report it by name
            found[one.channels] += 1
            sizes.append(one.size)
            several, first, gaps = several + one.several, first + one.first, gaps + one.gaps
            if one.values is not None:
                low, high = min(low, one.values[0]), max(high, one.values[1])
    said = {
        "images that were looked at hold values that are not finite; NaN becomes black": gaps,
        "images that were looked at have several pages or frames; the first is read": several,
        "arrays that were looked at are read as [channels, height, width]": first,
    }
    source.notes += [f"{n:,} of {len(indices):,} {what}" for what, n in said.items() if n]
    values = (low, high) if np.isfinite(low) else None
    size, why = (image_size, "") if image_size else _choose_size(sizes)
    low, high = value_range or ((low, high) if low < high < np.inf else (0.0, 65535.0))
    decoder = ImageDecoder(
        channels=channels or _choose_channels(found), size=size, low=low, high=high
    )
    view = test_view or ("center" if outside(sizes, decoder) <= MOST_LOST else "squash")
    return Survey(
        decoder=decoder,
        sizes=sizes,
        channels=dict(found),
        values=values,
        chosen=why,
        test_view=view,
    )


class _Looked(NamedTuple):
    """What is seen of an image without decoding it, where its header tells.

    Attributes:
        channels: Number of channels.
        size: Width and height when it is upright.
        several: Whether it has several pages or frames.
        first: Whether it is an array whose channels are first.
        gaps: Whether it holds values that are not finite.
        values: Smallest and largest value, of more than 8 bits; None for others.
    """

    channels: int
    size: tuple[int, int]
    several: bool
    first: bool
    gaps: bool = False
    values: tuple[float, float] | None = None


def _look(source: Source, index: int) -> _Looked | None:
    """What one image is; None if it cannot be opened."""
    try:
        with budget.sample():
            raw = source.read(index)
            several = getattr(raw, "n_frames", 1) > 1
            first = isinstance(raw, np.ndarray) and raw.ndim == 3 and is_channels_first(raw)  # noqa: PLR2004
            if is_plain(raw):
                with raw:
                    return _Looked(channels_of(raw), upright_size(raw), several, first)
            pixels = open_pixels(raw)
            kind = channels_of(pixels), size_of(pixels), several, first
            if not isinstance(pixels, np.ndarray) or pixels.dtype == np.uint8:
                return _Looked(*kind)
            finite = pixels[np.isfinite(pixels)]
            values = float(finite.min()), float(finite.max())
            return _Looked(*kind, finite.size < pixels.size, values)
    except MemoryError as error:
        raise ConfigError(budget.too_large(source.name(index), error)) from error
    except Exception:  # decoders raise anything on damaged bytes
        return None


def outside(sizes: list[tuple[int, int]], decoder: ImageDecoder) -> float:
    """Fraction of a typical image, the median, outside the center of the decoder's shape.

    >>> outside([(40, 10)], ImageDecoder(channels=1, size=8))
    0.75
    """
    _, height, width = decoder.shape
    aspects = [(wide * height) / (high * width) for wide, high in sizes]
    return float(np.median([1 - min(a, 1 / a) for a in aspects])) if aspects else 0.0


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


def _choose_size(sizes: list[tuple[int, int]]) -> tuple[int, str]:
    """The median shorter side up to a limit; say why if it is not that of the images."""
    if not sizes:
        return STEP_FROM, ""
    here = torch.accelerator.is_available()
    limit = LARGEST if here else LARGEST_WITHOUT_ACCELERATOR
    side = int(np.median([min(size) for size in sizes]))
    if len({*sizes}) == 1 and side <= limit:
        return side, ""
    chosen = max(min(side, limit), SMALLEST)
    chosen = chosen // STEP * STEP if chosen >= STEP_FROM else chosen
    if side > limit:
        return chosen, "images are large" if here else "images are large for a processor"
    return chosen, "images differ in size"
