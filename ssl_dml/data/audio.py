"""Folders of audio files, read as recordings of one sampling rate and number of channels."""

import math
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import soundfile
from jaxtyping import Float
from scipy.signal import firwin, resample_poly

from ssl_dml.config import ConfigError
from ssl_dml.data.folders import AUDIO_SUFFIXES, LabeledFiles, audio_below
from ssl_dml.data.recordings import Recordings
from ssl_dml.data.split_names import printable
from ssl_dml.data.trim import sounding
from ssl_dml.progress import progress, say
from ssl_dml.reading import regular

MAX_RATE = 1_000_000  # Hz
MOST_STEPS = 200_000  # of a ratio of sampling rates; the filter is 20 times as long
MOST_RATIO = 1_000  # of a sampling rate to that of a file
MOST_FRAMES_A_BYTE = 8_192  # more than silence takes in FLAC
HALF_WIDTH = 10  # of the low-pass filter, in periods of the lower sampling rate


@final
class AudioFiles(Recordings):
    """All audio files below a folder, sorted by path, resampled to one sampling rate.

    If every file lies in one of at least two sub-folders, the sub-folder is its class.

    Args:
        root: The folder.
        files: The audio files of a split; None for all.
        sampling_rate: Values a second. Files with another sampling rate are resampled, and a line
            tells the user how many.
        channels: 1 averages the channels of a file. With more, files must have as many, or one,
            which is repeated.
        trim: Silence at both ends that is this many dB below the loudest part is left out, see
            :func:`~ssl_dml.data.trim.sounding`; None keeps it.
    """

    dtype: Literal["int16", "float32"] = "int16"

    def __init__(
        self,
        root: Path,
        files: LabeledFiles | None = None,
        *,
        sampling_rate: int,
        channels: int = 1,
        trim: float | None = None,
    ) -> None:
        files = files or audio_below(root)
        if files is None or not files.paths:
            raise ConfigError(
                f"data.source {printable(str(root))!r} holds no audio; looked below it for "
                f"{' '.join(sorted(AUDIO_SUFFIXES))}"
            )
        self.paths = files.paths
        self.notes = [*files.notes]
        self.sampling_rate, self.channels = sampling_rate, channels
        self.labels, self.class_names = files.labels, files.class_names
        end = "" if trim is None else f" trimmed by {trim:g} dB"
        self.fingerprint, self.stamp = files.fingerprint + end, files.stamp + end
        self.labeled_by = files.labeled_by
        self.starts, self.lengths = list[int](), list[int]()
        self._measure(trim)

    def _measure(self, trim: float | None) -> None:
        """Find where the energy of each file is, and say what was decided."""
        sampling_rate, whole = self.sampling_rate, 0
        others: Counter[int] = Counter()
        with progress(len(self.paths), "measuring", "audio files") as bar:
            for path in self.paths:
                frames, own = _header(path, sampling_rate)
                length = math.ceil(frames * sampling_rate / own)
                start, stop = (0, length) if trim is None else _sounding(path, self, trim, length)
                self.starts.append(start)
                self.lengths.append(stop - start)
                whole += length
                others[own] += own != sampling_rate
                bar.update()
        if trim is not None and (cut := whole - sum(self.lengths)):
            self.notes = [
                *self.notes,
                f"silence at both ends is left out, {cut / sampling_rate:,.1f} of "
                f"{whole / sampling_rate:,.1f} s ({trim:g} dB below the loudest part); "
                "--data.sequences.trim null keeps it",
            ]
        if number := others.total():
            rates = ", ".join(str(own) for own in sorted(+others))
            say(
                f"{number:,} of {len(self.paths):,} audio files have another sampling rate "
                f"({rates} Hz) and are resampled to {sampling_rate} Hz"
            )

    def read(self, index: int, start: int, stop: int) -> Float[np.ndarray, "channels time"]:  # noqa: D102 - in Recordings
        try:
            with soundfile.SoundFile(regular(self.paths[index])) as file:
                _check_header(file, self.paths[index], self.sampling_rate)
                first, last = self.starts[index], self.starts[index] + self.lengths[index]
                stop = min(first + stop, last) if last > first else stop
                values = read_resampled(file, self.sampling_rate, first + start, stop)
        except soundfile.LibsndfileError as error:
            raise ValueError(error.error_string) from error
        if self.channels == 1:
            return values.mean(axis=0, keepdims=True)
        return values.repeat(self.channels, axis=0) if len(values) == 1 else values

    def name(self, index: int) -> str:  # noqa: D102
        return printable(str(self.paths[index]))


def read_resampled(
    file: soundfile.SoundFile, sampling_rate: int, start: int, stop: int
) -> Float[np.ndarray, "channels time"]:
    """Read a segment of a file at another sampling rate.

    The result equals a cut from the whole file resampled, but only the segment is read.

    Args:
        file: The audio file.
        sampling_rate: Sampling rate of the result, in values a second.
        start: First value of the segment, at that sampling rate.
        stop: One past its last value; the segment is shorter if the file ends earlier.

    Raises:
        ValueError: If the file is shorter than its header says.
    """
    common = math.gcd(sampling_rate, file.samplerate)
    up, down = sampling_rate // common, file.samplerate // common
    # A block lasts `up` values at the new sampling rate and `down` values at the file's. The
    # filter reaches `margin` blocks beyond the segment.
    margin = 0 if up == down else math.ceil(HALF_WIDTH * max(up, down) / (up * down))
    first, last = max(0, start // up - margin), -(-stop // up) + margin
    count = min((last - first) * down, file.frames - first * down)
    file.seek(first * down)
    values = file.read(count, dtype="float32", always_2d=True).T
    if values.shape[1] < count:
        raise ValueError("ends before its header says")
    if up != down and count:
        values = resample_poly(values, up, down, axis=1, window=_low_pass(max(up, down)))
    return values[:, start - first * up : stop - first * up]


@cache
def _low_pass(factor: int) -> np.ndarray:
    """Low-pass filter that ``resample_poly`` would design again for every segment."""
    design: Any = firwin  # its type stubs allow no such window
    taps = 2 * HALF_WIDTH * factor + 1
    return design(taps, 1 / factor, window=("kaiser", 5.0)).astype(np.float32)


def _sounding(path: Path, files: AudioFiles, trim: float, length: int) -> tuple[int, int]:
    """Where the energy of a file is; all of it if it is damaged, which reading will report."""
    try:
        with soundfile.SoundFile(regular(path)) as file:
            _check_header(file, path, files.sampling_rate)
            return sounding(file, files.sampling_rate, trim=trim, mono=files.channels == 1)
    except (soundfile.LibsndfileError, ValueError, OSError):
        return 0, length


def _header(path: Path, expected: int) -> tuple[int, int]:
    """Frames and sampling rate; 0 and the expected one if damaged, which reading will report."""
    try:
        with soundfile.SoundFile(regular(path)) as file:
            _check_header(file, path, expected)
            return file.frames, file.samplerate
    except (soundfile.LibsndfileError, ValueError, OSError):
        return 0, expected


def _check_header(file: soundfile.SoundFile, path: Path, expected: int) -> None:
    """Raise if a header promises what no file of its size holds.

    Raises:
        ValueError: With the number.
    """
    own = file.samplerate
    steps = max(own, expected) // math.gcd(own, expected) if own > 0 else 0
    if not 0 < steps <= MOST_STEPS or expected > own * MOST_RATIO:
        raise ValueError(
            f"has a sampling rate of {own:,} Hz, which is not resampled to {expected:,} Hz"
        )
    if not 0 <= file.frames <= MOST_FRAMES_A_BYTE * path.stat().st_size:
        raise ValueError(f"promises {file.frames:,} values, and has {path.stat().st_size:,} bytes")
