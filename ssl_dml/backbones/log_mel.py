"""Log-mel features of audio: an untrained baseline, and the backbone that computes it."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.backbones.base import Backbone
from ssl_dml.checks import at_least
from ssl_dml.padding import part_statistics, unpadded_lengths
from ssl_dml.types import ImageSpec, Samples, SequenceSpec, Stored, as_floats

BANDS = 40
WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.01
FLOOR = 1e-6
PARTS = 8  # of the time


def log_mel_statistics(
    samples: Stored | Samples,
    sampling_rate: int,
    *,
    parts: int = PARTS,
    filters: Tensor | None = None,
) -> Float[Tensor, "batch dim"]:
    """Mean and standard deviation of log-mel bands in equal parts of the time of each sample.

    The mean over bands is subtracted from the means of a part, so that loudness does not matter.
    Zeros at the end of a sample are padding and do not count.

    Args:
        samples: Stored audio, or audio from -1 to 1.
        sampling_rate: Values a second.
        filters: Those of :func:`mel_filters`, if they are at hand on the device.
        parts: Parts of the time. On spoken words with speakers held out of training, eight gave
            88.0% by kNN, six 86.0%, four 85.2%, two 79.2% and the whole 67.0%.

    Returns:
        For each channel, 40 means and then 40 standard deviations of each part.

    >>> log_mel_statistics(torch.randn(2, 1, 16000), 16000, parts=3).shape
    torch.Size([2, 240])
    """
    size, hop = _window(sampling_rate)
    bands = log_mel(samples, sampling_rate, filters=filters)
    channels, frames = bands.shape[1], bands.shape[3]
    counts = ((unpadded_lengths(samples) - size).clamp(min=0) // hop + 1).clamp(max=frames)
    rows = bands.permute(0, 3, 1, 2).flatten(2)
    means, variances = part_statistics(rows, counts, parts)
    means = means.unflatten(2, (channels, BANDS))
    means = means - means.mean(dim=3, keepdim=True)
    deviations = variances.sqrt().unflatten(2, (channels, BANDS))
    return torch.stack([means, deviations], dim=3).transpose(1, 2).flatten(1)


def _window(sampling_rate: int) -> tuple[int, int]:
    """Values of a window and between windows."""
    size = max(2, round(WINDOW_SECONDS * sampling_rate))
    return size, max(1, round(HOP_SECONDS * sampling_rate))


def _fourier(size: int) -> int:
    """Length of the Fourier transform of a window."""
    return 2 ** (size - 1).bit_length()


def log_mel(
    samples: Stored | Samples, sampling_rate: int, *, filters: Tensor | None = None
) -> Float[Tensor, "batch channels bands frames"]:
    """Natural logarithm of the power in 40 mel bands, in windows of 25 ms every 10 ms.

    Args:
        samples: Stored audio, or audio from -1 to 1.
        sampling_rate: Values a second.
        filters: Those of :func:`mel_filters`, if they are at hand on the device.

    >>> bands = log_mel(torch.zeros(1, 1, 16000), 16000)  # silence: the logarithm of 1e-6
    >>> bands.shape, bands.unique()
    (torch.Size([1, 1, 40, 98]), tensor([-13.8155]))
    """
    size, hop = _window(sampling_rate)
    values = as_floats(samples).flatten(0, 1)
    values = torch.nn.functional.pad(values, (0, max(0, size - values.shape[1])))
    fft = _fourier(size)
    if filters is None:
        filters = mel_filters(sampling_rate, fft)
    window = torch.hann_window(size, device=values.device)
    frames = values.unfold(1, size, hop) * window
    power = torch.fft.rfft(frames, fft).abs().square()
    bands = power @ filters.to(values.device)
    return (bands + FLOOR).log().mT.unflatten(0, samples.shape[:2])


def mel_filters(
    sampling_rate: int, fft: int, *, bands: int = BANDS
) -> Float[Tensor, "bins {bands}"]:
    """Triangular filters of height 1, evenly spaced in mel from 0 to half the sampling rate.

    A frequency is ``2595 log10(1 + hertz / 700)`` mel, so that 1,000 Hz are 1,000 mel. Each
    triangle begins at the peak of the one before and ends at the peak of the next.

    Args:
        sampling_rate: Values a second.
        fft: Length of the Fourier transform.
        bands: Number of triangles.

    References:
        O'Shaughnessy, 1987, Speech Communication: Human and Machine, p. 150.

    >>> mel_filters(8000, 8, bands=1)[:, 0]  # bins of 0, 1000, ... 4000 Hz
    tensor([0.0000, 0.8978, 0.6930, 0.3465, 0.0000])
    """
    top = 2595 * torch.log10(torch.tensor(1 + sampling_rate / 2 / 700, dtype=torch.float64))
    mel = torch.linspace(0, 1, bands + 2, dtype=torch.float64) * top
    corners = 700 * (10 ** (mel / 2595) - 1)
    hertz = torch.arange(fft // 2 + 1, dtype=torch.float64)[:, None] * sampling_rate / fft
    rising = (hertz - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - hertz) / (corners[2:] - corners[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


@final
class LogMelBackbone(Backbone):
    """:func:`log_mel_statistics` as a backbone, with nothing to train.

    With a whitening that is learned from views (``whiten_by: views``) it needs seconds and no
    labels; ``configs/pretrain/log_mel.yaml`` is such a run.

    >>> spec = SequenceSpec(channels=1, length=800, mean=(0.0,), std=(0.1,), sampling_rate=8000)
    >>> LogMelBackbone(spec, parts=2)(torch.randn(3, 1, 800)).shape
    torch.Size([3, 160])

    Args:
        inputs: Normalization and sampling rate of the audio.
        parts: Parts of the time, see :func:`log_mel_statistics`.

    Raises:
        ValueError: If the samples are images, or have no sampling rate.
    """

    filters: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(self, inputs: ImageSpec | SequenceSpec, *, parts: int = PARTS) -> None:
        super().__init__()
        if isinstance(inputs, ImageSpec) or inputs.sampling_rate is None:
            raise ValueError(
                "backbone: LogMelBackbone is for audio whose data.sequences.sampling_rate is known"
            )
        at_least(1, "backbone", parts=parts)
        self.inputs, self.sampling_rate, self.parts = inputs, inputs.sampling_rate, parts
        self.feature_dim = 2 * BANDS * parts * inputs.channels
        filters = mel_filters(self.sampling_rate, _fourier(_window(self.sampling_rate)[0]))
        scale, offset = (torch.tensor(v)[:, None] for v in (inputs.std, inputs.mean))
        for name, value in (("filters", filters), ("scale", scale), ("offset", offset)):
            self.register_buffer(name, value, persistent=False)

    def forward(
        self, samples: Float[Tensor, "batch channels values"]
    ) -> Float[Tensor, "batch dim"]:
        """Return the statistics of normalized audio."""
        with torch.autocast(samples.device.type, enabled=False):
            audio = torch.addcmul(self.offset, samples.float(), self.scale)
            return log_mel_statistics(
                audio, self.sampling_rate, parts=self.parts, filters=self.filters
            )
