"""Embeddings of a sample that are the mean over some views of it."""

from collections.abc import Iterator
from typing import Final, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.backbones import Backbone
from ssl_dml.types import ConfigError, Images, ImageSpec, Samples

Views = Literal["one", "flip", "crops"]
SHARE: Final = 0.875  # of the side of a crop


class Averaged(nn.Module):
    """A backbone whose embedding is the mean of those of several views, each of length 1.

    >>> from ssl_dml.backbones import TimmBackbone
    >>> spec = ImageSpec.imagenet(32)
    >>> network = Averaged(TimmBackbone(spec, name="resnet18", width=0.125).eval(), "flip")
    >>> image = torch.rand(1, 3, 32, 32)
    >>> torch.allclose(network(image), network(image.flip(3)), atol=1e-6)
    True

    Args:
        backbone: The network.
        views: ``one``, the sample itself, whose embedding stays as it is; ``flip``, also mirrored;
            ``crops``, four corners and the center at 7/8 of the side, each also mirrored
            (Krizhevsky et al., 2012, sec. 4.1).

    Raises:
        ConfigError: If the samples are sequences, of which there is one view.
    """

    def __init__(self, backbone: Backbone, views: Views) -> None:
        super().__init__()
        if views not in get_args(Views):
            raise ConfigError(f"views must be {', '.join(get_args(Views))}, got {views!r}")
        if views != "one" and not isinstance(backbone.inputs, ImageSpec):
            raise ConfigError(f"views {views!r} are for images, not sequences; leave it out")
        self.backbone, self.views = backbone, views

    def forward(self, samples: Samples) -> Float[Tensor, "batch dim"]:
        """Embeddings of normalized samples."""
        if self.views == "one":
            return self.backbone(samples)
        found = [F.normalize(self.backbone(view), dim=1) for view in _views(samples, self.views)]
        return torch.stack(found).mean(0)


def _views(images: Images, views: Views) -> Iterator[Images]:
    height, width = images.shape[2:]
    boxes = [(0, 0, height, width)]
    if views == "crops":
        own = max(1, round(height * SHARE)), max(1, round(width * SHARE))
        down, right = height - own[0], width - own[1]
        corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
        boxes = [(*corner, *own) for corner in corners]
    for top, left, high, wide in boxes:
        view = images[:, :, top : top + high, left : left + wide]
        if view.shape != images.shape:
            view = F.interpolate(view, (height, width), mode="bilinear", antialias=True)
        yield view
        yield view.flip(3)
