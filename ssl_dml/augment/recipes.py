"""Recipes that make random views of images; every view of every image is drawn by itself.

A recipe crops, changes the appearance step by step, and normalizes. A recipe of your own is a
list of steps for :class:`ImageViews`, or a subclass of it that YAML can name.
"""

from typing import final

from torch import nn

from ssl_dml.augment.blur import GaussianBlur
from ssl_dml.augment.color import ColorJitter
from ssl_dml.augment.erase import Erase
from ssl_dml.augment.light import ChannelJitter, GrayJitter
from ssl_dml.augment.solarize import Solarize
from ssl_dml.augment.views import Crops, ImageViews
from ssl_dml.checks import in_range
from ssl_dml.types import ImageSpec

COLOR = 3


@final
class Gray(ImageViews):
    """Views of gray images: crop, flip, brightness, contrast, gamma, blur, random erasing.

    >>> import torch
    >>> recipe = Gray(ImageSpec(channels=1, size=28, mean=(0.3,), std=(0.3,)), blur=0.5)
    >>> [tuple(view.shape) for view in recipe(torch.zeros(4, 1, 28, 28, dtype=torch.uint8))]
    [(4, 1, 28, 28), (4, 1, 28, 28)]

    Args:
        images: Size and normalization of the images.
        crops: Number, size and extent of the views.
        brightness: Strength, see :class:`~ssl_dml.augment.light.GrayJitter`.
        contrast: Strength.
        gamma: Strength.
        jitter: Fraction of views whose brightness and contrast change.
        blur: Fraction of views that are blurred, with sigma from 0.1 to 2 pixels.
        erase: Fraction of views in which a random rectangle is set to 0.
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
        light = GrayJitter(
            brightness=brightness, contrast=contrast, gamma=gamma, probability=jitter
        )
        steps = [light, *_blur(blur, crops.large(images)), *_erase(erase)]
        super().__init__(images, steps, crops=crops)


@final
class Color(ImageViews):
    """Views of RGB images: crop, flip, color jitter, grayscale, blur, solarization.

    The defaults are those of SimCLR (Chen et al., 2020, arXiv:2002.05709, appendix A) at half
    its color strength, as in its experiments on small images, without blur.

    >>> import torch
    >>> recipe = Color(ImageSpec.imagenet(32), crops=Crops(views=3), solarize=0.2)
    >>> len(recipe(torch.zeros(4, 3, 32, 32, dtype=torch.uint8)))
    3

    Args:
        images: Size and normalization of the images.
        crops: Number, size and extent of the views.
        brightness: Strength, see :class:`~ssl_dml.augment.color.ColorJitter`.
        contrast: Strength.
        saturation: Strength.
        hue: Strength, as a fraction of the color circle.
        jitter: Fraction of views that are jittered.
        grayscale: Fraction of views that become gray.
        blur: Fraction of views that are blurred, with sigma from 0.1 to 2 pixels.
        solarize: Fraction of views whose bright values are inverted.
        exact_hue: Turn the hue in HSV, see :class:`~ssl_dml.augment.color.ColorJitter`.
    """

    def __init__(  # noqa: PLR0913 - the signature is the configuration
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
        exact_hue: bool = False,
    ) -> None:
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
            exact_hue=exact_hue,
        )
        in_range(0, 1, solarize=solarize)
        steps = [color, *_blur(blur, crops.large(images))]
        if solarize > 0:
            steps.append(Solarize(probability=solarize))
        super().__init__(images, steps, crops=crops)


@final
class ManyChannel(ImageViews):
    """Views of images with any number of channels: crop, flip, brightness, contrast, gains.

    >>> import torch
    >>> recipe = ManyChannel(ImageSpec(channels=5, size=8, mean=(0.5,) * 5, std=(0.2,) * 5))
    >>> recipe(torch.zeros(4, 5, 8, 8, dtype=torch.uint8))[0].shape
    torch.Size([4, 5, 8, 8])

    Args:
        images: Size and normalization of the images.
        crops: Number, size and extent of the views.
        brightness: Strength of the change that all channels share.
        contrast: Strength of the change that all channels share.
        gain: Strength of the change of each channel by itself.
        drop: Probability that a channel is blanked.
        blur: Fraction of views that are blurred, with sigma from 0.1 to 2 pixels.
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
        light = GrayJitter(brightness=brightness, contrast=contrast)
        steps = [light, ChannelJitter(gain=gain, drop=drop), *_blur(blur, crops.large(images))]
        super().__init__(images, steps, crops=crops)


@final
class FineTune(ImageViews):
    """Weak augmentation for training with labels: one view that shows most of the image.

    >>> import torch
    >>> recipe = FineTune(ImageSpec.imagenet(32))
    >>> [tuple(view.shape) for view in recipe(torch.zeros(4, 3, 32, 32, dtype=torch.uint8))]
    [(4, 3, 32, 32)]

    Args:
        images: Size and normalization of the images.
        crops: Number, size and extent of the views.
        brightness: Strength, see :class:`~ssl_dml.augment.light.GrayJitter`.
        contrast: Strength.
        erase: Fraction of views in which a random rectangle is set to 0.
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
        light = GrayJitter(brightness=brightness, contrast=contrast)
        super().__init__(images, [light, *_erase(erase)], crops=crops)


@final
class Auto(ImageViews):
    """The recipe for the number of channels: Gray for 1, Color for 3, ManyChannel otherwise.

    >>> import torch
    >>> recipe = Auto(ImageSpec.imagenet(32))
    >>> [tuple(view.shape) for view in recipe(torch.zeros(4, 3, 32, 32, dtype=torch.uint8))]
    [(4, 3, 32, 32), (4, 3, 32, 32)]

    Args:
        images: Size and normalization of the images.
        crops: Number, size and extent of the views.
    """

    def __init__(self, images: ImageSpec, *, crops: Crops = Crops()) -> None:
        recipe = {1: Gray, COLOR: Color}.get(images.channels, ManyChannel)
        super().__init__(images, [recipe(images, crops=crops).steps], crops=crops)


def _blur(fraction: float, sides: tuple[int, int]) -> list[nn.Module]:
    """Gaussian blur whose kernel is a tenth of the shorter side, as in SimCLR."""
    in_range(0, 1, blur=fraction)
    if not fraction:
        return []
    kernel = max(3, min(sides) // 10 // 2 * 2 + 1)
    return [GaussianBlur(kernel, sigma=(0.1, 2.0), probability=fraction)]


def _erase(fraction: float) -> list[nn.Module]:
    in_range(0, 1, erase=fraction)
    return [Erase(probability=fraction)] if fraction else []
