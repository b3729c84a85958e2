"""Backbone for audio and other sequences: strided convolutions, then a causal context."""

import math
from collections.abc import Sequence
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.context import CausalTransformer, RecurrentContext
from ssl_dml.checks import at_least
from ssl_dml.padding import part_statistics, unpadded_lengths
from ssl_dml.types import ImageSpec, SequenceSpec

Pool = Literal["mean", "last", "statistics"]
EPSILON = 1e-8  # of the variance, whose root has no gradient at 0


@final
class SequenceBackbone(Backbone):
    """Strided convolutions over time, then a causal network over the latents; any length.

    One latent covers ``hop = prod(strides)`` values: 160 by default, 10 ms of audio at 16 kHz.
    Convolutions are padded on the left, so latent t depends on values before ``(t + 1) * hop``
    only, and every norm is over the channels of one time step: nothing leaks from the future.
    Values after the last whole hop are not used.

    >>> import torch
    >>> spec = SequenceSpec(channels=1, length=1600, mean=(0.0,), std=(0.1,), sampling_rate=16_000)
    >>> backbone = SequenceBackbone(spec, width=16, context_dim=32)
    >>> samples = torch.zeros(4, 1, 1600)
    >>> backbone.latents(samples).shape, backbone(samples).shape
    (torch.Size([4, 10, 16]), torch.Size([4, 32]))

    Args:
        inputs: Number of channels of the sequences.
        width: Channels of the convolutions, the dimension of a latent.
        strides: Stride of each convolution.
        kernels: Kernel size of each convolution, at least its stride.
        context: ``gru``, or ``transformer`` with causal attention.
        context_dim: Dimension of a context.
        layers: Number of layers of the context network.
        heads: Number of attention heads of a transformer.
        pool: How the contexts of a sequence become its feature: their ``mean``; the ``last``; or
            ``statistics``, the mean and the standard deviation, twice as many values. Those of
            padding at the end, see :func:`~ssl_dml.padding.unpadded_lengths`, do not count.
        parts: Equal parts of the time that are pooled each by itself, side by side in the
            feature, so that it knows what came when; ``last`` has none.

    Raises:
        ValueError: If ``kernels`` and ``strides`` do not fit, ``context_dim`` is no multiple of
            twice ``heads``, ``parts`` do not go with ``last``, or the samples are images.

    References:
        van den Oord et al., 2018, arXiv:1807.03748, sec. 3.1; norm over channels: Rivière et
        al., 2020, arXiv:2002.02848.
    """

    def __init__(
        self,
        inputs: ImageSpec | SequenceSpec,
        *,
        width: int = 256,
        strides: Sequence[int] = (5, 4, 2, 2, 2),
        kernels: Sequence[int] = (10, 8, 4, 4, 4),
        context: Literal["gru", "transformer"] = "gru",
        context_dim: int = 256,
        layers: int = 1,
        heads: int = 4,
        pool: Pool = "mean",
        parts: int = 1,
    ) -> None:
        super().__init__()
        if not isinstance(inputs, SequenceSpec):
            raise ValueError(
                "backbone: SequenceBackbone is for sequences; for images use "
                "ssl_dml.backbones.TimmBackbone"
            )
        fit = len(strides) == len(kernels) > 0
        if not fit or any(not 1 <= s <= k for s, k in zip(strides, kernels, strict=True)):
            raise ValueError(
                "backbone: kernels needs one value for each stride, and none below it, "
                f"got {list(kernels)} for {list(strides)}"
            )
        at_least(1, "backbone", parts=parts)
        if pool == "last" and parts > 1:
            raise ValueError(
                f"backbone: pool last has no parts, got {parts}; use mean or statistics"
            )
        self.inputs, self.context_dim, self.latent_dim = inputs, context_dim, width
        self.feature_dim = parts * context_dim * (2 if pool == "statistics" else 1)
        self.hop, self.pool, self.parts = math.prod(strides), pool, parts
        channels = [inputs.channels, *[width] * (len(strides) - 1)]
        self.encoder = nn.Sequential(
            *(
                _Convolution(c, width, kernel=k, stride=s)
                for c, k, s in zip(channels, kernels, strides, strict=True)
            )
        )
        self.network = (
            RecurrentContext(width, context_dim, layers=layers)
            if context == "gru"
            else CausalTransformer(width, context_dim, layers=layers, heads=heads)
        )

    def latents(
        self, samples: Float[Tensor, "batch channels values"]
    ) -> Float[Tensor, "batch time latent"]:
        """Return one latent for every ``hop`` values.

        Raises:
            ValueError: If the sequences are shorter than one hop.
        """
        if samples.shape[2] < self.hop:
            raise ValueError(
                f"backbone: sequences of {samples.shape[2]} values are shorter than one latent of "
                f"{self.hop}; take longer windows or smaller strides"
            )
        return self.encoder(samples.transpose(1, 2))

    def context(
        self, latents: Float[Tensor, "batch time latent"]
    ) -> Float[Tensor, "batch time dim"]:
        """Return the context of each latent, which depends on it and on those before it."""
        return self.network(latents)

    def forward(
        self, samples: Float[Tensor, "batch channels values"]
    ) -> Float[Tensor, "batch dim"]:
        """Return the pooled contexts of normalized sequences."""
        contexts = self.context(self.latents(samples))
        most = contexts.shape[1]
        counts = (unpadded_lengths(samples) // self.hop).clamp(1, most)
        if self.pool == "last":
            return contexts.take_along_dim(counts[:, None, None] - 1, dim=1)[:, 0]
        means, variances = part_statistics(contexts, counts, self.parts)
        if self.pool == "mean":
            return means.flatten(1)
        return torch.cat([means, (variances + EPSILON).sqrt()], dim=2).flatten(1)


@final
class _Convolution(nn.Module):
    """A causal convolution, layer norm over channels, ReLU.

    A ``Conv2d`` of height 1 on channels-last data is several times as fast on a CPU as
    ``Conv1d``.
    """

    def __init__(self, in_dim: int, dim: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.before = kernel - stride
        self.convolution = nn.Conv2d(in_dim, dim, (1, kernel), (1, stride))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "batch values channels"]) -> Float[Tensor, "batch time dim"]:
        row = F.pad(x, (0, 0, self.before, 0)).transpose(1, 2)[:, :, None]
        return F.relu(self.norm(self.convolution(row)[:, :, 0].transpose(1, 2)))
