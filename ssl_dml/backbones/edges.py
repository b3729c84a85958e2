"""A ResNet that sees edges instead of colors, and keeps where on an image they are."""

import math
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.image import TimmBackbone
from ssl_dml.checks import at_least
from ssl_dml.types import ImageSpec, SequenceSpec

POSITIONS = 32  # a side, of the maps that the ResNet is given
NEIGHBORS = 9  # a side, of the part that strength is relative to
LEAST = 1e-2  # of a strength, so that noise on a flat ground stays weak
PARTS = 4  # a side, of the image whose edges are features as they are
TINY = 1e-6


@final
class EdgeBackbone(Backbone):
    """Strength of edges by direction, then a ResNet of timm, pooled in parts of the image.

    What different people draw of one thing has other colors, and its outline in common. The
    edges of a pixel are those of the channel where they are strongest; light on dark is the same
    as dark on light; and they are relative to those around (Dalal and Triggs, 2005, CVPR, sec. 6).
    Beside the features of the network stand those edges themselves, in 4 x 4 parts. Both halves
    have mean 0, and count alike in a cosine.

    >>> drawings = ImageSpec.imagenet(32)
    >>> backbone = EdgeBackbone(drawings, name="resnet18", width=0.125, cells=2)
    >>> backbone(torch.zeros(4, 3, 32, 32)).shape
    torch.Size([4, 384])

    Args:
        images: Size and number of channels of the images.
        name: Name of a ResNet in timm.
        bins: Directions from 0 to 180 degrees.
        cells: The features are those of so many parts a side, one after the other.
        stem: See :class:`~ssl_dml.backbones.image.TimmBackbone`; ``auto`` goes by the size of the
            maps, which have at most about 32 positions a side.
        width: See the same.
        options: See the same.

    Raises:
        ConfigError: If ``name`` or ``options`` ask for weights.
        ValueError: If the samples are sequences, or timm has no such network.
    """

    def __init__(
        self,
        images: ImageSpec | SequenceSpec,
        *,
        name: str,
        bins: int = 8,
        cells: int = 3,
        stem: Literal["auto", "small", "standard"] = "auto",
        width: float = 1.0,
        options: dict[str, int | float | bool | str | list[int]] | None = None,
    ) -> None:
        super().__init__()
        at_least(1, "backbone", bins=bins, cells=cells)
        if not isinstance(images, ImageSpec):
            raise ValueError("backbone: EdgeBackbone is for images, and the samples are sequences")
        self.stride = max(1, round(min(images.sides) / POSITIONS))
        high, wide = (side // self.stride for side in images.sides)
        mean, std = (0.0,) * bins, (1.0,) * bins  # they are on one scale already
        maps = ImageSpec(channels=bins, size=(high, wide), mean=mean, std=std)
        given: dict[str, Any] = {"stem": stem, "width": width, "options": options}
        self.backbone = TimmBackbone(maps, name=name, **given)
        self.inputs, self.bins, self.cells = images, bins, cells
        learned, plain = self.backbone.feature_dim * cells**2, bins * PARTS**2
        self.norms = nn.ModuleList(nn.BatchNorm1d(dim, affine=False) for dim in (learned, plain))
        self.feature_dim = learned + plain

    def forward(
        self, samples: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch dim"]:
        """Return the features of normalized images: of the network by part, then of edges."""
        maps = edges(samples, self.bins)
        if self.stride > 1:
            maps = F.avg_pool2d(maps, self.stride)
        network: Any = self.backbone.network
        found = network.forward_features(self.backbone.fitted(maps))
        plain = F.adaptive_avg_pool2d(maps, PARTS).flatten(1).clamp(min=TINY).sqrt()
        halves = F.adaptive_avg_pool2d(found, self.cells).flatten(1), plain
        parts = [
            norm(F.normalize(half.float(), dim=1)) / half.shape[1] ** 0.5
            for norm, half in zip(self.norms, halves, strict=True)
        ]
        return torch.cat(parts, dim=1)

    def layers(self) -> list[list[nn.Parameter]]:
        """Return parameters layer by layer, as timm groups them."""
        return self.backbone.layers()


def edges(
    images: Float[Tensor, "batch channels height width"], bins: int
) -> Float[Tensor, "batch {bins} height width"]:
    """How strong the edges are in each direction, relative to those around.

    >>> step = torch.zeros(1, 1, 8, 8)
    >>> step[..., 4:] = 1.0
    >>> edges(step, 2)[0, :, 4, 3] > 0  # an edge from top to bottom
    tensor([ True, False])
    >>> torch.equal(edges(step, 2), edges(1 - step, 2))
    True

    Args:
        images: Of any range.
        bins: Directions of the gradient from 0 to 180 degrees; the first is horizontal.
    """
    across = F.pad(images[..., 2:] - images[..., :-2], (1, 1))
    down = F.pad(images[:, :, 2:] - images[:, :, :-2], (0, 0, 1, 1))
    strength = (across.square() + down.square()).sqrt()
    strongest = strength.argmax(dim=1, keepdim=True)
    across, down, strength = (one.gather(1, strongest) for one in (across, down, strength))
    square = strength.square()
    # Twice the angle, of which opposite directions have the same.
    cos = (across.square() - down.square()) / square.clamp(min=1e-12)
    sin = 2 * across * down / square.clamp(min=1e-12)
    turns = torch.arange(bins, device=images.device).view(1, -1, 1, 1) * (2 * math.pi / bins)
    along = (cos * turns.cos() + sin * turns.sin()).clamp(min=0).square()
    around = F.avg_pool2d(square, NEIGHBORS, 1, NEIGHBORS // 2)
    around = around + square.mean(dim=(2, 3), keepdim=True) / 2
    return strength * along / (around.sqrt() + LEAST)
