"""Encode a batch in chunks, to train with batches larger than memory allows otherwise."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ssl_dml.backbones.base import Backbone
from ssl_dml.checks import at_least
from ssl_dml.types import Samples


@final
class Chunked(Backbone):
    """A backbone that keeps the activations of at most ``size`` samples in memory.

    The forward pass keeps features only. The backward pass encodes each chunk once more, with
    the same dropout. Loss and gradients equal those of the whole batch if no layer mixes
    samples, as batch norm does. The price is one more forward pass. State dicts are those of
    the backbone itself, so a run can resume with another ``size`` or without chunks.

    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.types import ImageSpec
    >>> spec = ImageSpec.imagenet(32)
    >>> backbone = TimmBackbone(spec, name="resnet18", width=0.125).eval()
    >>> images = torch.randn(5, 3, 32, 32)
    >>> torch.allclose(Chunked(backbone, 2)(images), backbone(images), atol=1e-5)
    True

    Args:
        backbone: The backbone.
        size: Maximum number of samples in a chunk; chunks differ in size by at most one.

    Raises:
        ValueError: If ``size`` is not positive.

    References:
        Gao et al., 2021, arXiv:2101.06983.
    """

    def __init__(self, backbone: Backbone, size: int) -> None:
        super().__init__()
        at_least(1, size=size)
        self.backbone, self.size = backbone, size
        self.inputs, self.feature_dim = backbone.inputs, backbone.feature_dim
        self.register_state_dict_post_hook(_leave_out_own_name)
        self.register_load_state_dict_pre_hook(_put_in_own_name)

    def forward(self, samples: Samples) -> Float[Tensor, "batch dim"]:
        """Return one feature for each normalized sample."""
        count = max(1, -(-len(samples) // self.size))
        features = [self._encode(chunk) for chunk in samples.tensor_split(count)]
        return torch.cat(features)

    def _encode(self, chunk: Tensor) -> Tensor:
        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _buffers_kept(self.backbone)

        features: Any = checkpoint(self.backbone, chunk, use_reentrant=False, context_fn=contexts)
        return features


def batch_norm_notice(backbone: Chunked) -> str | None:
    """Return a warning if the backbone has batch norm, whose statistics are then of a chunk."""
    if not any(isinstance(module, _BatchNorm) for module in backbone.modules()):
        return None
    return (
        f"train.encode_chunk {backbone.size}: the backbone's batch norm takes its statistics over "
        "a chunk, not over the batch; to be exact, give timm's ResNets options: "
        "{norm_layer: groupnorm1} or {norm_layer: layernorm2d}, or take a vision transformer"
    )


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """Run on copies of the buffers, so that running statistics count every sample once only."""
    owners = [
        (owner, name, buffer)
        for owner in module.modules()
        for name, buffer in owner.named_buffers(recurse=False)
    ]
    for owner, name, buffer in owners:
        setattr(owner, name, buffer.clone())
    try:
        yield
    finally:
        for owner, name, buffer in owners:
            setattr(owner, name, buffer)


def _leave_out_own_name(
    _module: nn.Module, state: dict[str, Any], prefix: str, _metadata: dict[str, Any]
) -> None:
    inner = f"{prefix}backbone."
    for name in [name for name in state if name.startswith(inner)]:
        state[prefix + name.removeprefix(inner)] = state.pop(name)


def _put_in_own_name(_module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        state[f"{prefix}backbone.{name.removeprefix(prefix)}"] = state.pop(name)
