"""Sequences of any length become samples of one length."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Shaped

from ssl_dml.data.decoder import Decoder
from ssl_dml.data.sources import Source
from ssl_dml.types import SequenceSpec

SIXTEEN_BITS = 32768
MAX_PEAK = 4  # a little above 1 is a peak to cut; far above, the file counts in other units


class Recordings(ABC):
    """Sequences in a fixed order, each of its own length, with their labels if there are any.

    Attributes:
        fingerprint: As that of a :class:`~ssl_dml.data.sources.Source`.
        stamp: As there.
        labels: As there.
        class_names: As there.
        channels: Number of channels, the most that any has.
        lengths: Values over time in each; 0 where it cannot be read.
        dtype: What its values are kept as: 16-bit integers for audio.
    """

    fingerprint: str
    stamp: str
    labels: list[int] | None
    class_names: list[str]
    channels: int
    lengths: list[int]
    dtype: Literal["int16", "float32"]

    @abstractmethod
    def read(self, index: int, start: int, stop: int) -> Shaped[np.ndarray, "channels time"]:
        """Values from ``start`` to before ``stop``, or to the end.

        Raises:
            ValueError: If it is damaged.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """What to call it when telling the user about it."""


@final
class Segments(Source):
    """Consecutive pieces of recordings, each a sample of its own with its recording's label.

    What remains after the last whole piece is one too when it is at least half as long, or all
    there is.

    Args:
        recordings: What is cut.
        length: Values in a piece.
    """

    def __init__(self, recordings: Recordings, length: int) -> None:
        self.recordings, self.length = recordings, length
        self.pieces = [
            (index, piece * length)
            for index, found in enumerate(recordings.lengths)
            for piece in range(max(1, (2 * found + length) // (2 * length)))
        ]
        labels = recordings.labels
        self.labels = None if labels is None else [labels[index] for index, _ in self.pieces]
        self.class_names = recordings.class_names
        self.fingerprint, self.stamp = recordings.fingerprint, recordings.stamp

    def __len__(self) -> int:
        return len(self.pieces)

    def read(self, index: int) -> Shaped[np.ndarray, "channels time"]:  # noqa: D102 - in Source
        recording, start = self.pieces[index]
        return self.recordings.read(recording, start, start + self.length)

    def name(self, index: int) -> str:  # noqa: D102
        recording, start = self.pieces[index]
        name = self.recordings.name(recording)
        return f"{name}, from value {start}" if start else name


@final
@dataclass(frozen=True, kw_only=True)
class SequenceDecoder(Decoder):
    """What every sequence of a data set is decoded to.

    Args:
        channels: Number of channels.
        length: Values over time; shorter sequences have zeros at the end.
        sampling_rate: Values a second; None where time has no unit.
        kept_as: 16-bit integers, for audio from -1 to 1 and cut beyond; or floats as they are.
    """

    channels: int
    length: int
    sampling_rate: int | None
    kept_as: Literal["int16", "float32"]

    @property
    def shape(self) -> tuple[int, int]:  # noqa: D102 - documented in Decoder
        return self.channels, self.length

    @property
    def dtype(self) -> np.dtype:  # noqa: D102
        return np.dtype(self.kept_as)

    def decode(  # noqa: D102
        self, sample: Shaped[np.ndarray, "found time"]
    ) -> Shaped[np.ndarray, "channels length"]:
        if not sample.size:
            raise ValueError("is empty")
        if len(sample) != self.channels:
            raise ValueError(f"has {len(sample)} channels where the data set has {self.channels}")
        values = np.zeros(self.shape, np.float32)
        with np.errstate(over="ignore"):
            values[:, : sample.shape[1]] = sample
        if not np.isfinite(values).all():
            raise ValueError("holds values that are not finite")
        if self.kept_as == "float32":
            return values
        if (peak := np.abs(values).max()) > MAX_PEAK:
            raise ValueError(f"reaches {peak:g} where 1 is the loudest")
        integers = np.rint(values * SIXTEEN_BITS).clip(-SIXTEEN_BITS, SIXTEEN_BITS - 1)
        return integers.astype(np.int16)

    def spec(  # noqa: D102
        self, *, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> SequenceSpec:
        return SequenceSpec(
            channels=self.channels,
            length=self.length,
            sampling_rate=self.sampling_rate,
            mean=mean,
            std=std,
        )
