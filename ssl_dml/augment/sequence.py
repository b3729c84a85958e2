"""Random views of audio and other sequences."""

import math
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ssl_dml.augment.drawn import uniform
from ssl_dml.augment.normalize import Normalize
from ssl_dml.augment.views import Augmentation
from ssl_dml.checks import at_least, finite, in_range
from ssl_dml.padding import unpadded_lengths
from ssl_dml.types import Aspects, ImageSpec, SequenceSpec, Stored, as_floats

DECAY = 3 * math.log(10)  # 60 dB in amplitude
DECAY_SECONDS = (0.1, 0.6)
TAIL_DB = (-20.0, 0.0)


@final
class SequenceViews(Augmentation):
    """Random windows of sequences with changed speed, reverb, gain, noise and a masked stretch.

    Every view of every sequence is drawn by itself, from before the padding of a sequence where
    that is long enough. A step whose option is 0 is left out.

    >>> spec = SequenceSpec(channels=1, length=400, mean=(0.0,), std=(0.1,), sampling_rate=8000)
    >>> views = SequenceViews(spec, window=320)(torch.zeros(4, 1, 400, dtype=torch.int16))
    >>> [tuple(view.shape) for view in views]
    [(4, 1, 320), (4, 1, 320)]

    Args:
        inputs: Length, sampling rate and normalization of the sequences.
        window: Length of a view, in values.
        views: Number of views of each sequence.
        speed: The speed, and the pitch with it, is log-uniform from ``1 / (1 + speed)`` to
            ``1 + speed``, or to the highest for which the sequence is long enough. Values are
            interpolated linearly.
        reverb: Fraction of views with reverb: white noise that decays by 60 dB in 0.1 to 0.6
            seconds, with 0 to 20 dB less energy than the audio itself.
        gain: The gain is uniform in plus and minus this, in dB.
        noise: Fraction of views with white noise.
        snr: Range of the signal-to-noise ratio, in dB.
        mask: The longest stretch that is set to the mean, as a fraction of the view; the length
            is uniform from 0.

    Raises:
        ValueError: If a range is impossible, the window is longer than the sequences, or reverb
            is asked for and the sampling rate is not known.
    """

    def __init__(
        self,
        inputs: ImageSpec | SequenceSpec,
        *,
        window: int,
        views: int = 2,
        speed: float = 0.1,
        reverb: float = 0.0,
        gain: float = 6.0,
        noise: float = 0.5,
        snr: tuple[float, float] = (5.0, 30.0),
        mask: float = 0.1,
    ) -> None:
        super().__init__()
        if isinstance(inputs, ImageSpec):
            raise ValueError("augment: SequenceViews is for sequences; the data are images")
        if not 1 < window <= inputs.length:
            raise ValueError(
                f"augment: window must be from 2 to the length of the sequences, {inputs.length}; "
                f"got {window}"
            )
        at_least(1, "augment", views=views)
        at_least(0, "augment", speed=speed, gain=gain)
        in_range(0, 1, "augment", reverb=reverb, noise=noise, mask=mask)
        finite("augment", snr=snr)
        if snr[0] > snr[1]:
            raise ValueError(f"augment: snr must be a rising range, got {snr}")
        if reverb and inputs.sampling_rate is None:
            raise ValueError(
                "augment: reverb needs data.sequences.sampling_rate; set it, or reverb to 0"
            )
        self.window, self.views, self.sampling_rate = window, views, inputs.sampling_rate or 1
        self.speed, self.reverb, self.gain = speed, reverb, gain
        self.noise, self.snr, self.mask = noise, snr, mask
        self.normalize = Normalize(inputs)

    @torch.no_grad()
    def forward(
        self, samples: Shaped[Tensor, "batch channels time"], _: Aspects | None = None
    ) -> list[Float[Tensor, "batch channels window"]]:
        """Return normalized views, each of all sequences."""
        values = self._windows(samples.repeat(self.views, 1, 1))
        if self.reverb:
            values = values + self._echo(values)
        if self.gain:
            decibels = uniform(len(values), -self.gain, self.gain, values)
            values = values * _amplitude(decibels)
        if self.noise:
            values = values + self._noise(values)
        values = self.normalize(values)
        if self.mask:
            values = values.masked_fill(self._masked(values), 0.0)
        return list(values.chunk(self.views))

    def _windows(self, samples: Stored) -> Float[Tensor, "many channels window"]:
        count, last = len(samples), samples.shape[-1] - 1
        steps = torch.arange(self.window, device=samples.device)
        room = math.log(last / (self.window - 1))
        limit = math.log1p(self.speed)
        faster = uniform(count, -limit, limit, samples).clamp(max=room).expm1()[:, None]
        # Only the offset from normal speed is computed in floats: it is small, and so exact.
        shift = steps * faster
        whole = shift.floor().long()
        span = self.window - 1 + shift[:, -1:].ceil().long()
        room_before = unpadded_lengths(samples)[:, None] - span
        start = (torch.rand_like(shift[:, :1]) * room_before.clamp(min=0)).long()
        left = (start + steps + whole).clamp(max=last)
        right = (left + 1).clamp(max=last)
        before, after = (
            as_floats(samples.gather(2, index[:, None].expand(-1, samples.shape[1], -1)))
            for index in (left, right)
        )
        return torch.lerp(before, after, (shift - whole)[:, None].to(before.dtype))

    def _echo(
        self, values: Float[Tensor, "many channels window"]
    ) -> Float[Tensor, "many channels window"]:
        count, size = len(values), values.shape[-1]
        seconds = torch.arange(size, device=values.device) / self.sampling_rate
        reach = uniform(count, *DECAY_SECONDS, values)[:, None]
        tail = torch.randn(count, size, device=values.device) * (-DECAY * seconds / reach).exp()
        tail = tail / tail.norm(dim=1, keepdim=True)
        tail = tail * _chosen(count, self.reverb, values)[:, None]
        spectrum = torch.fft.rfft(values, 2 * size) * torch.fft.rfft(tail, 2 * size)[:, None]
        echo = torch.fft.irfft(spectrum, 2 * size)[..., :size]
        return echo * _amplitude(uniform(count, *TAIL_DB, values))

    def _noise(
        self, values: Float[Tensor, "many channels window"]
    ) -> Float[Tensor, "many channels window"]:
        decibels = -uniform(len(values), *self.snr, values)
        loudness = values.square().mean(dim=(1, 2), keepdim=True).sqrt()
        chosen = _chosen(len(values), self.noise, values)[:, None, None]
        return torch.randn_like(values) * loudness * _amplitude(decibels) * chosen

    def _masked(self, values: Float[Tensor, "many channels window"]) -> Tensor:
        count, size = len(values), values.shape[-1]
        length = (uniform(count, 0.0, self.mask, values) * size).round()
        start = (uniform(count, 0.0, 1.0, values) * (size + 1 - length)).floor()
        steps = torch.arange(size, device=values.device)
        inside = (steps >= start[:, None]) & (steps < (start + length)[:, None])
        return inside[:, None]


def _amplitude(decibels: Float[Tensor, " many"]) -> Float[Tensor, "many 1 1"]:
    return (10 ** (decibels / 20))[:, None, None]


def _chosen(count: int, fraction: float, like: Tensor) -> Float[Tensor, " many"]:
    """Return 1 for a random fraction of the samples and 0 for the others."""
    return (uniform(count, 0.0, 1.0, like) < fraction).float()
