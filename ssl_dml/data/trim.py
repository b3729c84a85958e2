"""Find where the energy of a recording is, so that silence at both ends can be left out."""

import math

import numpy as np
import soundfile
from jaxtyping import Float, Shaped

FRAMES_A_SECOND = 100
MARGIN = 2  # frames kept on both sides: soft onsets of speech lie below the threshold
BLOCK = 3_000  # frames read at once: half a minute


def sounding(
    file: soundfile.SoundFile, sampling_rate: int, *, trim: float, mono: bool
) -> tuple[int, int]:
    """First value with energy and one past the last, at another sampling rate.

    The file is read once, in blocks. A file that is silent throughout is kept whole, and so is
    one that ends before its header says, which reading will report.

    Args:
        file: The audio file.
        sampling_rate: Sampling rate of the result, in values a second.
        trim: How many dB below the loudest frame of 10 ms a frame is silent.
        mono: Whether channels are averaged.
    """
    size = frame_size(file.samplerate)
    whole = math.ceil(file.frames * sampling_rate / file.samplerate)
    blocks = file.blocks(size * BLOCK, dtype="float32", always_2d=True)
    energies, found = list[np.ndarray](), 0
    for block in blocks:
        found += len(block)
        values = block.mean(axis=1, keepdims=True) if mono else block
        energies.append(frame_energies(values.T, size))
    if found < max(1, file.frames):
        return 0, whole
    start, stop = loud_frames(np.concatenate(energies), trim)
    scale = size * sampling_rate
    return (
        start * scale // file.samplerate,
        min(whole, -(-stop * scale // file.samplerate)),
    )


def trimmed(
    values: Shaped[np.ndarray, "channels time"], sampling_rate: int, trim: float
) -> Shaped[np.ndarray, "channels sounding"]:
    """Cut values as :func:`sounding` cuts a file.

    >>> values = np.zeros((1, 1000))
    >>> values[0, 500:700] = np.tile([0.5, -0.5], 100)
    >>> trimmed(values, 1000, 40.0).shape  # 200 values, and 2 frames of 10 on both sides
    (1, 240)
    """
    if not values.size:
        return values
    size = frame_size(sampling_rate)
    start, stop = loud_frames(frame_energies(values, size), trim)
    return values[:, start * size : stop * size]


def frame_size(sampling_rate: int) -> int:
    """Values of a frame of 10 ms, at least 1."""
    return max(1, sampling_rate // FRAMES_A_SECOND)


def frame_energies(
    values: Shaped[np.ndarray, "channels time"], size: int
) -> Float[np.ndarray, " frames"]:
    """Mean square around the mean of each frame, so that an offset has no energy.

    The last frame may be shorter. Values that are not finite have no energy; decoding reports
    them.
    """
    starts = np.arange(0, values.shape[1], size)
    counts = np.diff(np.append(starts, values.shape[1]))
    with np.errstate(over="ignore", invalid="ignore"):
        wide = values.astype(np.float64)
        means = np.add.reduceat(wide, starts, axis=1) / counts
        centered = wide - means.repeat(counts, axis=1)
        energies = np.add.reduceat(centered * centered, starts, axis=1).sum(axis=0) / counts
    return np.where(np.isfinite(energies), energies, 0.0)


def loud_frames(energies: Float[np.ndarray, " frames"], trim: float) -> tuple[int, int]:
    """First loud frame and one past the last, with a margin of 2 on both sides.

    >>> loud_frames(np.array([0.0, 1e-5, 1e-5, 1e-5, 1.0, 1e-3, 1e-5]), 40.0)
    (2, 7)
    >>> loud_frames(np.zeros(3), 40.0)  # silent throughout
    (0, 3)
    """
    loud = (energies > energies.max() * 10 ** (-trim / 10)).nonzero()[0]
    if not len(loud):
        return 0, len(energies)
    return max(0, int(loud[0]) - MARGIN), min(len(energies), int(loud[-1]) + 1 + MARGIN)
