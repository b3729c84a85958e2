"""What decoded samples are, as far as it decides how to pretrain on them."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.data.dataset import SampleSet
from ssl_dml.types import ImageSpec, Pixels, sides_of

LOOKED_AT = 500
SAME = 8  # gray levels from the ground's
FLAT = 0.75  # of the border in one color
EXTREME = 0.15  # of an image's range, from either end
TWO_TONE = 0.8  # of its pixels there
Kind = Literal["glyphs", "gray", "drawings", "color", "bands", "audio", "series"]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What was understood of the samples to train on, and where the run is.

    >>> Traits(images=True, channels=3, side=64, samples=500, flat=0.9).kind
    'drawings'

    Args:
        images: Whether they are images.
        channels: Number of channels.
        side: Shorter side in pixels, or length of a sequence.
        samples: How many there are.
        sampling_rate: Values a second of sequences; None without a unit of time.
        flat: Fraction of the images that stand on a ground of one color, by their border.
        two_tone: Fraction of the images that have little between their darkest and lightest.
        class_size: Median number of samples of a class; None without labels.
        accelerator: Whether the run is on one.
    """

    images: bool
    channels: int
    side: int
    samples: int
    sampling_rate: int | None = None
    flat: float = 0.0
    two_tone: float = 0.0
    class_size: int | None = None
    accelerator: bool = False

    @property
    def kind(self) -> Kind:
        """What they are taken for: images are of a kind if most of them are."""
        if not self.images:
            return "series" if self.sampling_rate is None else "audio"
        on_ground, inked = self.flat > 1 / 2, self.two_tone > 1 / 2
        gray: Kind = "glyphs" if on_ground and inked else "gray"
        color: Kind = "drawings" if on_ground else "color"
        by_channels: dict[int, Kind] = {1: gray, 3: color}
        return by_channels.get(self.channels, "bands")

    @property
    def reason(self) -> str:
        """What that was taken from, in words."""
        shares = f"{self.flat:.0%} on a flat ground, {self.two_tone:.0%} of two tones"
        text = f"{self.channels} channel{'s' * (self.channels != 1)}"
        return f"{text}; {shares}" if self.images else text


def traits_of(train: SampleSet, *, accelerator: bool) -> Traits:
    """Look at up to 500 decoded samples spread over the set.

    Args:
        train: The samples to train on.
        accelerator: Whether the run is on one.
    """
    spec, labels = train.spec, train.labels
    class_size = None
    if labels is not None:
        class_size = int(labels[labels >= 0].unique(return_counts=True)[1].median())
    common = {
        "channels": spec.channels, "samples": len(train), "class_size": class_size,
        "accelerator": accelerator,
    }  # fmt: skip
    if not isinstance(spec, ImageSpec):
        rate = spec.sampling_rate
        return Traits(images=False, side=spec.length, sampling_rate=rate, **common)
    rows = torch.linspace(0, len(train) - 1, min(LOOKED_AT, len(train))).long()
    pixels = train[rows][0]
    return Traits(
        images=True,
        side=min(sides_of(spec.size)),
        flat=(ground_share(pixels) >= FLAT).double().mean().item(),
        two_tone=(tone_share(pixels) >= TWO_TONE).double().mean().item(),
        **common,
    )


def ground_share(pixels: Pixels) -> Float[Tensor, " batch"]:
    """Fraction of each image's border that is within 8 gray levels of its median color.

    >>> ground_share(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
    tensor([1.])
    """
    edges = [pixels[:, :, 0], pixels[:, :, -1], pixels[:, :, :, 0], pixels[:, :, :, -1]]
    border = torch.cat(edges, dim=2).float()
    away = (border - border.median(dim=2, keepdim=True).values).abs().amax(dim=1)
    return (away <= SAME).float().mean(dim=1)


def tone_share(pixels: Pixels) -> Float[Tensor, " batch"]:
    """Fraction of each image's pixels near its darkest or its lightest, by 0.15 of the range.

    >>> tone_share(torch.tensor([0, 100, 255, 255], dtype=torch.uint8).view(1, 1, 2, 2))
    tensor([0.7500])
    """
    gray = pixels.float().mean(dim=1).flatten(1)
    low, high = gray.amin(dim=1, keepdim=True), gray.amax(dim=1, keepdim=True)
    place = (gray - low) / (high - low).clamp(min=1.0)
    return ((place <= EXTREME) | (place >= 1 - EXTREME)).float().mean(dim=1)
