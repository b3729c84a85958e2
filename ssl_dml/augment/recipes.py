"""Pipelines of random views for kinds of images; every sample has its own draw."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from kornia.augmentation import RandomErasing, RandomGaussianBlur, RandomSolarize
from torch import Tensor, nn

from ssl_dml.augment.color import ChannelJitter, ColorJitter, GrayJitter
from ssl_dml.augment.geometry import CropFlip
from ssl_dml.augment.normalize import Normalize
from ssl_dml.types import ImageSpec, Pixels, SequenceSpec, Stored

COLOR = 3


class Augmentation(nn.Module, ABC):
    """Makes views; built by ``(inputs: ImageSpec | SequenceSpec, *, ...)``."""

    @abstractmethod
    def forward(self, samples: Stored, /) -> list[Float[Tensor, "batch channels ..."]]:
        """Normalized views of every sample as a store keeps it, on its device."""


@dataclass(frozen=True, kw_only=True)
class Crops:
    """How many views of which size, and how much of the image each shows.

    Args:
        views: Large views of each image.
        resolution: Their side relative to that of the images; below 1 trains faster, and the
            network then sees objects larger than in training (Touvron et al., 2019,
            arXiv:1906.06423).
        scale: Range of their fraction of the image's area.
        flip: Probability of a mirror image.
        degrees: Rotation is uniform in plus and minus this.
        local_views: Small views of each image beside them (multi-crop: Caron et al., 2020,
            arXiv:2006.09882, sec. 3.2).
        local_resolution: Their side relative to that of the images.
        local_scale: Range of their fraction of the area.
    """

    views: int = 2
    resolution: float = 1.0
    scale: tuple[float, float] = (0.2, 1.0)
    flip: float = 0.5
    degrees: float = 0.0
    local_views: int = 0
    local_resolution: float = 0.5
    local_scale: tuple[float, float] = (0.05, 0.2)

    def __post_init__(self) -> None:
        if self.views < 1 or self.local_views < 0:
            raise ValueError(
                f"crops.views must be at least 1 and crops.local_views at least 0, "
                f"got {self.views} and {self.local_views}"
            )
        if self.resolution <= 0 or self.local_resolution <= 0:
            raise ValueError(
                f"crops.resolution and crops.local_resolution must be positive, "
                f"got {self.resolution} and {self.local_resolution}"
            )

    def side(self, images: ImageSpec | SequenceSpec) -> int:
        """Pixels of a large view's side.

        Raises:
            ValueError: If these are sequences.
        """
        if not isinstance(images, ImageSpec):
            raise ValueError(
                "augment: this recipe is for images; for sequences use "
                "ssl_dml.augment.SequenceViews"
            )
        return max(1, round(images.size * self.resolution))


@final
class _MultiCrop(nn.Module):
    """Crops of each size, each followed by the same appearance steps and normalization."""

    def __init__(self, images: ImageSpec, crops: Crops, appearance: list[nn.Module]) -> None:
        super().__init__()
        sides = [(crops.views, crops.side(images), crops.scale)]
        if crops.local_views:
            local = max(1, round(images.size * crops.local_resolution))
            sides.append((crops.local_views, local, crops.local_scale))
        self.counts = [count for count, _, _ in sides]
        self.crops = nn.ModuleList(
            CropFlip(side, scale=scale, flip=crops.flip, degrees=crops.degrees)
            for _, side, scale in sides
        )
        self.appearance = nn.Sequential(*appearance)
        self.normalize = Normalize(images)

    @torch.no_grad()
    def forward(self, pixels: Pixels) -> list[Float[Tensor, "batch channels _height _width"]]:
        images = pixels.float() / 255
        views: list[Tensor] = []
        for count, crop in zip(self.counts, self.crops, strict=True):
            many = self.normalize(self.appearance(crop(images.repeat(count, 1, 1, 1))))
            views += many.chunk(count)
        return views


@final
class Gray(Augmentation):
    """For images of one channel: crop, flip, brightness, contrast, gamma, blur, erasing.

    Args:
        images: What the images look like.
        crops: Number, resolution and extent of the views.
        brightness: Strength, see :class:`~ssl_dml.augment.color.GrayJitter`.
        contrast: Strength.
        gamma: Strength.
        jitter: Fraction of views whose brightness and contrast change.
        blur: Fraction of views that are blurred, sigma from 0.1 to 2 pixels.
        erase: Fraction of views that lose a rectangle.
    """

    def __init__(
        self,
        images: ImageSpec,
        *,
        crops: Crops = Crops(),
        brightness: float = 0.4,
        contrast: float = 0.4,
        gamma: float = 1.0,
        jitter: float = 0.8,
        blur: float = 0.0,
        erase: float = 0.0,
    ) -> None:
        super().__init__()
        light = GrayJitter(
            brightness=brightness, contrast=contrast, gamma=gamma, probability=jitter
        )
        steps = [light, *_blur(blur, crops.side(images)), *_erase(erase)]
        self.pipeline = _MultiCrop(images, crops, steps)

    def forward(self, pixels: Pixels) -> list[Float[Tensor, "batch channels _height _width"]]:
        """Views of gray images."""
        return self.pipeline(pixels)


@final
class Color(Augmentation):
    """For RGB images: crop, flip, color jitter, grayscale, blur, solarization.

    The defaults are those of SimCLR (Chen et al., 2020, arXiv:2002.05709, appendix A) at half
    its color strength, as it uses for small images, without blur.

    Args:
        images: What the images look like.
        crops: Number, resolution and extent of the views.
        brightness: Strength, see :class:`~ssl_dml.augment.color.ColorJitter`.
        contrast: Strength.
        saturation: Strength.
        hue: Strength in turns.
        jitter: Fraction of views that are jittered.
        grayscale: Fraction of views that lose their color.
        blur: Fraction of views that are blurred, sigma from 0.1 to 2 pixels.
        solarize: Fraction of views whose bright values are inverted.
    """

    def __init__(
        self,
        images: ImageSpec,
        *,
        crops: Crops = Crops(),
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        jitter: float = 0.8,
        grayscale: float = 0.2,
        blur: float = 0.0,
        solarize: float = 0.0,
    ) -> None:
        super().__init__()
        if images.channels != COLOR:
            raise ValueError(
                f"augment: Color is for 3 channels and the images have {images.channels}; "
                "use Auto, Gray or ManyChannel"
            )
        color = ColorJitter(
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            probability=jitter,
            grayscale=grayscale,
        )
        steps: list[nn.Module] = [color, *_blur(blur, crops.side(images))]
        if solarize > 0:
            steps.append(RandomSolarize(thresholds=0.0, additions=0.0, p=solarize))
        self.pipeline = _MultiCrop(images, crops, steps)

    def forward(self, pixels: Pixels) -> list[Float[Tensor, "batch channels _height _width"]]:
        """Views of RGB images."""
        return self.pipeline(pixels)


@final
class ManyChannel(Augmentation):
    """For images of any number of channels: crop, flip, lighting, a gain for each channel.

    Args:
        images: What the images look like.
        crops: Number, resolution and extent of the views.
        brightness: Strength of the change common to all channels.
        contrast: Strength of the same.
        gain: Strength of the change of each channel.
        drop: Probability that a channel is blanked.
        blur: Fraction of views that are blurred.
    """

    def __init__(
        self,
        images: ImageSpec,
        *,
        crops: Crops = Crops(),
        brightness: float = 0.4,
        contrast: float = 0.4,
        gain: float = 0.3,
        drop: float = 0.1,
        blur: float = 0.0,
    ) -> None:
        super().__init__()
        steps = [
            GrayJitter(brightness=brightness, contrast=contrast),
            ChannelJitter(gain=gain, drop=drop),
            *_blur(blur, crops.side(images)),
        ]
        self.pipeline = _MultiCrop(images, crops, steps)

    def forward(self, pixels: Pixels) -> list[Float[Tensor, "batch channels _height _width"]]:
        """Views of images with any number of channels."""
        return self.pipeline(pixels)


@final
class FineTune(Augmentation):
    """For training with labels: one view of most of the image, little else.

    Args:
        images: What the images look like.
        crops: Number, resolution and extent of the views.
        brightness: Strength.
        contrast: Strength.
        erase: Fraction of views that lose a rectangle.
    """

    def __init__(
        self,
        images: ImageSpec,
        *,
        crops: Crops = Crops(views=1, scale=(0.6, 1.0), flip=0.0),
        brightness: float = 0.2,
        contrast: float = 0.2,
        erase: float = 0.0,
    ) -> None:
        super().__init__()
        steps = [GrayJitter(brightness=brightness, contrast=contrast), *_erase(erase)]
        self.pipeline = _MultiCrop(images, crops, steps)

    def forward(self, pixels: Pixels) -> list[Float[Tensor, "batch channels _height _width"]]:
        """Views for training with labels."""
        return self.pipeline(pixels)


@final
class Auto(Augmentation):
    """The recipe that suits the number of channels: Gray for 1, Color for 3, else ManyChannel.

    Args:
        images: What the images look like.
        crops: Number, resolution and extent of the views.
    """

    def __init__(self, images: ImageSpec, *, crops: Crops = Crops()) -> None:
        super().__init__()
        recipe = {1: Gray, COLOR: Color}.get(images.channels, ManyChannel)
        self.recipe = recipe(images, crops=crops)

    def forward(self, pixels: Pixels) -> list[Float[Tensor, "batch channels _height _width"]]:
        """Views by the chosen recipe."""
        return self.recipe(pixels)


def _blur(fraction: float, size: int) -> list[nn.Module]:
    """Gaussian blur with a kernel of a tenth of the side, as SimCLR has it."""
    if not fraction:
        return []
    kernel = max(3, size // 10 // 2 * 2 + 1)
    return [RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=fraction)]


def _erase(fraction: float) -> list[nn.Module]:
    return [RandomErasing(scale=(0.02, 0.33), ratio=(0.3, 3.3), p=fraction)] if fraction else []
