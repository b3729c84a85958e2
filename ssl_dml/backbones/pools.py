"""All poolings and layers of a network from timm, in one pass."""

from collections.abc import Iterator
from typing import Any, cast, final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.embedder import Embedder
from ssl_dml.backbones.pooled import Pooled, pooled
from ssl_dml.types import ImageSpec, Samples


@final
class Pools(Backbone):
    """What the network itself returns, and every pooling and layer of it, side by side.

    It is for a trained network in evaluation mode.

    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> network = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> pools = Pools(network.eval())
    >>> list(pools.dims)
    ['trained', 'mean', 'gem', 'layer:0', 'layer:1', 'layer:2', 'layer:3', 'layer:4']
    >>> pools(torch.zeros(2, 3, 32, 32)).shape[1] == sum(pools.dims.values())
    True

    Args:
        backbone: The network, also within an :class:`~ssl_dml.backbones.Embedder`.

    Attributes:
        dims: Dimension of each, by name and in their order; ``trained`` is what the network
            returns, and the others are those of :class:`~ssl_dml.backbones.pooled.Pooled`.

    Raises:
        ConfigError: If the network is not one from timm, or gives no layers.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        last = Pooled(backbone, "layer:-1")
        self.whole, self.backbone, self.prefix = backbone, last.backbone, last.prefix
        self.inputs = backbone.inputs
        height, width = cast(ImageSpec, self.inputs).sides
        one = torch.zeros(1, self.inputs.channels, height, width)
        with torch.no_grad():
            found = self._pools(one.to(next(backbone.parameters()).device))
            self.dims = {name: rows.shape[1] for name, rows in found}
        self.feature_dim = sum(self.dims.values())

    def _pools(self, samples: Samples) -> Iterator[tuple[str, Float[Tensor, "batch some"]]]:
        network: Any = self.backbone.network
        last, maps = network.forward_intermediates(self.backbone.fitted(samples), output_fmt="NCHW")
        own = network.forward_head(last)
        yield "trained", self.whole.neck(own) if isinstance(self.whole, Embedder) else own
        for pool in ("mean", "gem", *["cls"] * (self.prefix > 0)):
            yield pool, pooled(network, last, pool, self.prefix)
        for i, one in enumerate(maps):
            yield f"layer:{i}", one.flatten(2).mean(2)

    def forward(self, samples: Samples) -> Float[Tensor, "batch dim"]:
        """Return all of them side by side, for each normalized sample."""
        return torch.cat([rows for _, rows in self._pools(samples)], dim=1)
