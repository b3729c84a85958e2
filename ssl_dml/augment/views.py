"""What makes random views: crops, steps that change the appearance, normalization."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.augment.geometry import CropFlip
from ssl_dml.augment.normalize import Normalize
from ssl_dml.checks import at_least, fraction, in_range, positive, sizes
from ssl_dml.types import (
    Aspects,
    ImageSpec,
    Pixels,
    SequenceSpec,
    Stored,
    sides_of,
)

LARGE_IMAGE, LARGE_RESOLUTION, SMALL_RESOLUTION = 256, 7 / 8, 0.7


class Augmentation(nn.Module, ABC):
    """Makes random views; the constructor is ``(inputs: ImageSpec | SequenceSpec, *, ...)``."""

    @abstractmethod
    def forward(
        self, samples: Stored, aspects: Aspects | None = None, /
    ) -> list[Float[Tensor, "batch channels ..."]]:
        """Return normalized views of decoded samples, each a batch on the samples' device.

        Args:
            samples: Decoded images or sequences.
            aspects: By what factor each image was wider, for its height, than it is stored, on the
                host, where views are drawn; None if all have the shape that they had.
        """


@dataclass(frozen=True, kw_only=True)
class Crops:
    """Number and size of the random crops of each image, called its views.

    >>> photographs = ImageSpec.imagenet(256)
    >>> [Crops(**given).large(photographs) for given in ({"resolution": None}, {"size": 96})]
    [(224, 224), (96, 96)]

    Args:
        views: Number of large views of each image.
        size: Side of a large view in pixels, or height and width; None takes ``resolution``.
        resolution: Side of a large view relative to the image. Below 1 trains faster, and makes up
            for random crops, which show objects larger than at test time (Touvron et al., 2019,
            arXiv:1906.06423). None is 7 / 8 for images of 256 pixels or more, as is usual, and
            0.7 for smaller ones.
        scale: Range of the fraction of the image's area that a large view shows.
        flip: Probability of a horizontal flip.
        degrees: Rotation is uniform in plus and minus this.
        local_views: Number of additional small views (multi-crop: Caron et al., 2020,
            arXiv:2006.09882, sec. 3.2).
        local_size: Side of a small view in pixels, or height and width; None takes
            ``local_resolution``.
        local_resolution: Side of a small view relative to the image.
        local_scale: Range of the fraction of the image's area that a small view shows.
    """

    views: int = 2
    size: int | tuple[int, int] | None = None
    resolution: float | None = 1.0
    scale: tuple[float, float] = (0.2, 1.0)
    flip: float = 0.5
    degrees: float = 0.0
    local_views: int = 0
    local_size: int | tuple[int, int] | None = None
    local_resolution: float = 0.5
    local_scale: tuple[float, float] = (0.05, 0.2)

    def __post_init__(self) -> None:
        at_least(1, "crops", views=self.views)
        at_least(0, "crops", local_views=self.local_views)
        positive("crops", resolution=self.resolution, local_resolution=self.local_resolution)
        sizes("crops", size=self.size, local_size=self.local_size)
        in_range(0, 1, "crops", flip=self.flip)
        in_range(0, 180, "crops", degrees=self.degrees)
        for name in ("scale", "local_scale"):
            low, high = getattr(self, name)
            fraction("crops", **{name: low})
            in_range(low, 1, "crops", **{name: high})

    def large(self, images: ImageSpec | SequenceSpec) -> tuple[int, int]:
        """Height and width of a large view, in pixels.

        Raises:
            ValueError: If the data are sequences.
        """
        if not isinstance(images, ImageSpec):
            raise ValueError(
                "augment: this recipe is for images; for sequences use "
                "ssl_dml.augment.SequenceViews"
            )
        chosen = LARGE_RESOLUTION if min(images.sides) >= LARGE_IMAGE else SMALL_RESOLUTION
        return _scaled(images, self.size, self.resolution or chosen)

    def local(self, images: ImageSpec) -> tuple[int, int]:
        """Height and width of a small view, in pixels."""
        return _scaled(images, self.local_size, self.local_resolution)


def _scaled(
    images: ImageSpec, size: int | tuple[int, int] | None, resolution: float
) -> tuple[int, int]:
    height, width = (max(1, round(side * resolution)) for side in images.sides)
    return (height, width) if size is None else sides_of(size)


class ImageViews(Augmentation):
    """Random crops, then the given steps, then normalization.

    >>> views = ImageViews(ImageSpec.imagenet(32), [], crops=Crops(views=2, local_views=4))
    >>> images = torch.zeros(5, 3, 32, 32, dtype=torch.uint8)
    >>> [view.shape[-1] for view in views(images)]
    [32, 32, 16, 16, 16, 16]

    Args:
        images: Size and normalization of the images.
        steps: Modules that change floats from 0 to 1 of any size, applied in this order.
        crops: Number, size and extent of the views.
    """

    def __init__(
        self, images: ImageSpec, steps: list[nn.Module], *, crops: Crops = Crops()
    ) -> None:
        super().__init__()
        kinds = [(crops.views, crops.large(images), crops.scale)]
        if crops.local_views:
            kinds.append((crops.local_views, crops.local(images), crops.local_scale))
        self.counts = [count for count, _, _ in kinds]
        self.crops = nn.ModuleList(
            CropFlip(size, scale=scale, flip=crops.flip, degrees=crops.degrees)
            for _, size, scale in kinds
        )
        self.steps = nn.Sequential(*steps)
        self.normalize = Normalize(images)

    @torch.no_grad()
    def forward(
        self, pixels: Pixels, aspects: Aspects | None = None
    ) -> list[Float[Tensor, "batch channels _height _width"]]:
        """Return the large views, then the small ones."""
        images = pixels / 255
        views: list[Tensor] = []
        for count, crop in zip(self.counts, self.crops, strict=True):
            wide = None if aspects is None else aspects.repeat(count)
            many = self.normalize(self.steps(crop(images.repeat(count, 1, 1, 1), wide)))
            views += many.chunk(count)
        return views
