"""A network from what a camera or a microphone gives to an embedding of length 1."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ssl_dml.augment import Normalize, unsquash
from ssl_dml.backbones import Backbone
from ssl_dml.types import ImageSpec, SequenceSpec

WHITE, SIXTEEN_BITS = 255.0, 32768.0


@final
class ImageEmbedder(nn.Module):
    """Resizing, test view, normalization, backbone, and division by the length.

    Images have the layout that ``numpy.asarray`` gives of a Pillow image, any height and width, and
    the channels of the backbone. They are resized as :class:`~ssl_dml.data.decode.ImageDecoder`
    resizes them, by sums with weights, since ``Resize`` with antialiasing of ONNX differs from
    Pillow by up to 9 of 255 at steep edges, and these sums by 1, or 2 where an image grows.

    >>> from ssl_dml.backbones import TimmBackbone
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> images = torch.zeros(2, 48, 64, 3, dtype=torch.uint8)
    >>> ImageEmbedder(backbone.eval())(images).shape
    torch.Size([2, 64])

    Args:
        backbone: A network of images.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone, self.normalize = backbone, Normalize(backbone.inputs)
        assert isinstance(backbone.inputs, ImageSpec)
        self.inputs = backbone.inputs

    def forward(
        self, images: UInt8[Tensor, "batch height width channels"]
    ) -> Float[Tensor, "batch dim"]:
        """Return embeddings of length 1."""
        values, (height, width) = images.permute(0, 3, 1, 2).float(), self.inputs.sides
        to_columns, wide = resizing(values.shape[3], width)
        to_rows, high = resizing(values.shape[2], height)
        values = _rounded(to_rows @ _rounded(values @ to_columns.T)) / WHITE
        aspects = (wide / high).expand(values.shape[0])
        if self.inputs.test_view != "squash":
            values = unsquash(values, aspects, self.inputs)
        return F.normalize(self.backbone(self.normalize(values)), dim=1)


def resizing(count: int, wanted: int) -> tuple[Float[Tensor, "wanted count"], Float[Tensor, ""]]:
    """Weight of each pixel of an axis in each one that is wanted, as in Pillow's bilinear resize.

    >>> resizing(4, 2)[0]
    tensor([[0.4286, 0.4286, 0.1429, 0.0000],
            [0.0000, 0.1429, 0.4286, 0.4286]])

    Args:
        count: Pixels that there are.
        wanted: Pixels that there are to be.

    Returns:
        The weights, and count divided by wanted.
    """
    places = torch.arange(count) + 0.5
    scale = (places[-1] + 0.5) / wanted  # a tensor, so that a traced network takes any count
    at = (torch.arange(wanted) + 0.5) * scale
    near = (1 - (at[:, None] - places).abs() / scale.clamp(min=1)).clamp(min=0)
    return near / near.sum(1, keepdim=True), scale


def _rounded(values: Tensor) -> Tensor:
    """What bytes hold: Pillow rounds after each axis."""
    return (values + 0.5).floor()


@final
class SequenceEmbedder(nn.Module):
    """Normalization, backbone, and division by the length.

    Sequences have any number of values: as in :class:`~ssl_dml.data.recordings.SequenceDecoder`,
    those after the length that the backbone was trained on are cut, zeros follow where there are
    fewer, and audio is rounded to 16 bits.

    Args:
        backbone: A network of sequences.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone, self.normalize = backbone, Normalize(backbone.inputs)
        assert isinstance(backbone.inputs, SequenceSpec)
        self.inputs = backbone.inputs

    def forward(self, samples: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch dim"]:
        """Return embeddings of length 1; audio is on the scale where 1 is the loudest."""
        last, places = torch.arange(samples.shape[2])[-1], torch.arange(self.inputs.length)
        values = samples[:, :, torch.minimum(places, last)].where(places <= last, 0.0)
        if self.inputs.sampling_rate is not None:
            whole = (values * SIXTEEN_BITS).round()
            values = whole.clamp(min=-SIXTEEN_BITS).clamp(max=SIXTEEN_BITS - 1) / SIXTEEN_BITS
        return F.normalize(self.backbone(self.normalize(values)), dim=1)


def embedder(backbone: Backbone) -> ImageEmbedder | SequenceEmbedder:
    """The network to export."""
    images = isinstance(backbone.inputs, ImageSpec)
    return ImageEmbedder(backbone.eval()) if images else SequenceEmbedder(backbone.eval())
