"""Cut recordings of any length into samples of one length, and decode them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Shaped

from ssl_dml.config import ConfigError
from ssl_dml.data.decoder import Decoded, Decoder
from ssl_dml.data.sources import Source
from ssl_dml.types import SequenceSpec

SIXTEEN_BITS = 32768
MOST_PIECES = 1 << 25  # a few GB of indices
MAX_PEAK = 4  # a peak a little above 1 is clipped; far above, the file has other units


class Recordings(ABC):
    """Audio or other sequences in a fixed order, each of its own length, with or without labels.

    Attributes:
        fingerprint: See :class:`~ssl_dml.data.sources.Source`.
        stamp: See there.
        labels: See there.
        class_names: See there.
        notes: See there.
        labeled_by: See there.
        channels: The largest number of channels of any recording.
        lengths: Number of values of each recording over time; 0 if it cannot be read.
        dtype: Type of the decoded values: 16-bit integers for audio.
    """

    fingerprint: str
    stamp: str
    labels: list[int] | None
    class_names: list[str]
    notes: Sequence[str] = ()
    labeled_by: str = ""
    channels: int
    lengths: list[int]
    dtype: Literal["int16", "float32"]

    @abstractmethod
    def read(self, index: int, start: int, stop: int) -> Shaped[np.ndarray, "channels time"]:
        """Read the values from ``start`` to before ``stop``, or to the end.

        Raises:
            ValueError: If the recording is damaged.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """Name of a recording in messages."""


@final
class Segments(Source):
    """Consecutive segments of recordings, each a sample with the label of its recording.

    A remainder becomes a segment too if it is at least half as long as the others, or if the
    recording has no other.

    Args:
        recordings: The recordings to cut.
        length: Length of a segment, in values.
    """

    def __init__(self, recordings: Recordings, length: int) -> None:
        self.recordings, self.length = recordings, length
        if (pieces := sum(found // length for found in recordings.lengths)) > MOST_PIECES:
            raise ConfigError(
                f"data.sequences.length {length} cuts the recordings into {pieces:,} samples, and "
                f"at most {MOST_PIECES:,} are kept track of; raise it"
            )
        self.pieces = [
            (index, piece * length)
            for index, found in enumerate(recordings.lengths)
            for piece in range(max(1, (2 * found + length) // (2 * length)))
        ]
        labels = recordings.labels
        self.labels = None if labels is None else [labels[index] for index, _ in self.pieces]
        self.class_names, self.notes = recordings.class_names, [*recordings.notes]
        self.class_names, self.labeled_by = recordings.class_names, recordings.labeled_by
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
@dataclass(frozen=True)
class Lengths:
    """How long the recordings of a source are.

    >>> Lengths([30, 90, 40]).lines()
    ['lengths: 30 to 90 values, median 40']

    Args:
        values: Length of each recording, in values.
    """

    values: list[int]

    def metadata(self) -> dict[str, Any]:
        """Plain metadata, for what is saved."""
        ordered = sorted(self.values)
        found = {"shortest": ordered[0], "median": ordered[len(ordered) // 2]}
        return {"recordings": len(ordered), **found, "longest": ordered[-1]}

    def lines(self) -> list[str]:
        """The same for people."""
        low, middle, high = (self.metadata()[name] for name in ("shortest", "median", "longest"))
        if low == high:
            return [f"lengths: all {low:,} values"]
        return [f"lengths: {low:,} to {high:,} values, median {middle:,}"]


@final
@dataclass(frozen=True, kw_only=True)
class SequenceDecoder(Decoder):
    """Channels, length and type that every sequence of a data set is decoded to.

    >>> decoder = SequenceDecoder(channels=1, length=4, sampling_rate=None, kept_as="int16")
    >>> decoded = decoder.decode(np.array([[0.5, -1.0, 2.0]]))
    >>> decoded.values.tolist()  # clipped, then padded with a zero
    [[16384, -32768, 32767, 0]]

    Args:
        channels: Number of channels.
        length: Number of values over time; shorter sequences are padded with zeros.
        sampling_rate: Values a second; None if time has no unit.
        kept_as: ``int16`` for audio from -1 to 1, clipped beyond; ``float32`` for values as they
            are.
        trim: Silence that was left out at both ends, see :func:`~ssl_dml.data.trim.sounding`;
            None if it was kept.
    """

    channels: int
    length: int
    sampling_rate: int | None
    kept_as: Literal["int16", "float32"]
    trim: float | None = None

    @property
    def shape(self) -> tuple[int, int]:  # noqa: D102 - documented in Decoder
        return self.channels, self.length

    @property
    def dtype(self) -> np.dtype:  # noqa: D102
        return np.dtype(self.kept_as)

    def decode(self, sample: Shaped[np.ndarray, "found time"]) -> Decoded:  # noqa: D102
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
            return Decoded(values)
        if (peak := np.abs(values).max()) > MAX_PEAK:
            raise ValueError(f"reaches {peak:g} where 1 is the loudest")
        integers = np.rint(values * SIXTEEN_BITS).clip(-SIXTEEN_BITS, SIXTEEN_BITS - 1)
        return Decoded(integers.astype(np.int16))

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
