"""Features of a network from timm, pooled otherwise than it does, or of an earlier layer."""

import re
from typing import Any, Final, cast, final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.chunked import Chunked
from ssl_dml.backbones.embedder import Embedder
from ssl_dml.backbones.image import TimmBackbone
from ssl_dml.types import ConfigError, ImageSpec, Samples

POOLS: Final = "mean, cls, gem or layer:N"
POWER, LEAST = 3.0, 1e-6


@final
class Pooled(Backbone):
    """The last features of a network from timm, or those of a layer, in one vector a sample.

    It is for a trained network at test time; a neck of fine-tuning is left out.

    >>> from ssl_dml.types import ImageSpec
    >>> network = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> Pooled(network, "layer:1")(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 8])

    Args:
        backbone: The network, also within an :class:`Embedder`.
        pool: ``mean`` over positions; ``cls``, the class token of a transformer; ``gem``, the
            generalized mean of power 3 (Radenović et al., 2019, arXiv:1711.02512, eq. 3);
            ``layer:N``, the mean over positions of stage or block N, from 0, or from the end if
            it is negative.

    Raises:
        ConfigError: If the network has no such layer or token, with what it has.
    """

    def __init__(self, backbone: Backbone, pool: str) -> None:
        super().__init__()
        inner = backbone.backbone if isinstance(backbone, Embedder | Chunked) else backbone
        if not isinstance(inner, TimmBackbone):
            raise ConfigError(
                f"pool {pool!r} is for networks of timm, and this is {type(inner).__name__}; "
                "leave it out"
            )
        self.backbone, self.pool, self.inputs = inner, pool, backbone.inputs
        network: Any = inner.network
        self.prefix = int(getattr(network, "num_prefix_tokens", 0) or 0)
        self.layer: int | None = None
        found = re.fullmatch(r"layer:(-?\d{1,4})", pool)
        if found:
            self.layer = self._checked(network, int(found[1]))
        elif pool not in ("mean", "cls", "gem"):
            raise ConfigError(f"pool must be {POOLS}, got {pool!r}")
        elif pool == "cls" and not self.prefix:
            raise ConfigError(
                f"pool 'cls' is for transformers with a class token, and {self._name} has none; "
                "choose mean, gem or layer:N"
            )
        with torch.no_grad():
            height, width = cast(ImageSpec, inner.inputs).sides
            one = torch.zeros(1, inner.inputs.channels, height, width)
            mode, self.feature_dim = inner.training, 0
            inner.eval()
            self.feature_dim = self(one.to(next(inner.parameters()).device)).shape[1]
            inner.train(mode)

    @property
    def _name(self) -> str:
        return self.backbone.arguments["model_name"]

    def _checked(self, network: Any, layer: int) -> int:  # noqa: ANN401
        """Number of a layer from the end counted from the beginning."""
        if not hasattr(network, "forward_intermediates"):
            raise ConfigError(f"pool 'layer:{layer}': {self._name} gives no layers; leave it out")
        blocks = getattr(network, "blocks", None)
        count = len(blocks if self.prefix and blocks is not None else network.feature_info)
        if not -count <= layer < count:
            raise ConfigError(
                f"pool 'layer:{layer}': {self._name} has layers 0 to {count - 1}; choose one"
            )
        return layer % count

    def forward(self, samples: Samples) -> Float[Tensor, "batch dim"]:
        """Return one vector for each normalized sample."""
        network: Any = self.backbone.network
        samples = self.backbone.fitted(samples)
        if self.layer is not None:
            maps = network.forward_intermediates(
                samples, indices=[self.layer], intermediates_only=True, output_fmt="NCHW"
            )
            return maps[0].flatten(2).mean(2)
        return pooled(network, network.forward_features(samples), self.pool, self.prefix)


def pooled(
    network: Any,  # noqa: ANN401 - timm's have no common type
    features: Float[Tensor, "batch ..."],
    pool: str,
    prefix: int,
) -> Float[Tensor, "batch dim"]:
    """What :class:`Pooled` makes of the last features of a network.

    Args:
        network: The network from timm.
        features: Its last ones, before its own pooling.
        pool: ``mean``, ``cls`` or ``gem``.
        prefix: How many tokens stand before those of positions.
    """
    if pool == "cls":
        return features[:, 0]
    if features.ndim == 3:  # noqa: PLR2004 - [batch, tokens, dim]
        features = features[:, prefix:].transpose(1, 2)
    elif getattr(network, "output_fmt", "NCHW") == "NHWC":
        features = features.permute(0, 3, 1, 2)
    features = features.flatten(2)
    if pool == "gem":
        return features.clamp(min=LEAST).pow(POWER).mean(2).pow(1 / POWER)
    return features.mean(2)
