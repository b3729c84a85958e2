"""Nested features: a contrastive loss for each of several prefixes, so that each serves alone."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.checks import nested_dims
from ssl_dml.memory import Queue
from ssl_dml.methods.base import Method
from ssl_dml.methods.moco import MoCo
from ssl_dml.methods.moco_v3 import MoCoV3
from ssl_dml.methods.momentum import follower
from ssl_dml.methods.nnclr import NNCLR
from ssl_dml.methods.views import InBatchContrast
from ssl_dml.types import ConfigError, StepOutput

AnyMethod = TypeVar("AnyMethod", bound=Method)


@final
class SideBySide(nn.Module):
    """Networks that each take some columns of a row; their outputs are concatenated.

    >>> halves = SideBySide([nn.Identity(), nn.Identity()], [slice(0, 1), slice(0, 3)])
    >>> halves(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[1., 1., 2., 3.]])

    Args:
        networks: The networks.
        columns: What each takes.
    """

    def __init__(self, networks: Iterable[nn.Module], columns: Sequence[slice]) -> None:
        super().__init__()
        self.networks, self.columns = nn.ModuleList(networks), columns

    def forward(self, rows: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch wide"]:
        """Outputs of all networks, one beside the other."""
        pairs = zip(self.networks, self.columns, strict=True)
        return torch.cat([network(rows[:, own]) for network, own in pairs], dim=1)


@final
class SumOfBlocks(nn.Module):
    """The sum of a loss over equal blocks of the columns of its embeddings.

    Args:
        loss: Takes tensors, of which those of floats are embeddings, and normalizes their rows.
        blocks: Number of blocks.
    """

    def __init__(self, loss: nn.Module, blocks: int) -> None:
        super().__init__()
        self.loss, self.blocks = loss, blocks

    def forward(self, *inputs: Tensor, **more: Any) -> Float[Tensor, ""]:  # noqa: ANN401
        """Compute the loss of each block, and add them.

        Args:
            *inputs: Embeddings, and what goes with every block of them, such as labels.
            **more: Keyword arguments of the loss.
        """
        split = [
            one.chunk(self.blocks, dim=-1) if one.is_floating_point() else [one] * self.blocks
            for one in inputs
        ]
        return torch.stack([self.loss(*block, **more) for block in zip(*split, strict=True)]).sum()


def nested(method: AnyMethod, dims: Sequence[int]) -> AnyMethod:
    """Let a method contrast each of several prefixes of the features, and add the losses.

    Each prefix has a projector of its own (and predictor, where there is one) and is normalized by
    itself after it, so it trains as features of that dimension would. A queue holds the keys of
    all prefixes; NNCLR's neighbor is the nearest by all of them together.

    Args:
        method: The method, which is changed.
        dims: Dimensions of the prefixes, rising to that of the features.

    Raises:
        ConfigError: If the method is of another kind, or ``dims`` do not rise to the dimension.

    References:
        Kusupati et al., 2022, arXiv:2205.13147, eq. 1, with weights of 1.
    """
    if not isinstance(method, InBatchContrast | MoCo | MoCoV3 | NNCLR):
        raise ConfigError(
            f"nested is for methods that contrast views with a batch or a queue, such as SimCLR or "
            f"MoCo, and method is {type(method).__name__}: set it to null"
        )
    dims = nested_dims(dims, method.backbone.feature_dim)
    parts: Any = method  # whose networks are replaced by others
    *_, last = (part for part in parts.projector.modules() if isinstance(part, nn.Linear))
    out_dim = last.out_features
    own = [slice(at * out_dim, (at + 1) * out_dim) for at in range(len(dims))]
    projectors = [_renewed(parts.projector, dim) for dim in dims]
    parts.projector = SideBySide(projectors, [slice(dim) for dim in dims])
    parts.loss = SumOfBlocks(parts.loss, len(dims))
    if hasattr(method, "predictor"):
        parts.predictor = SideBySide([_renewed(parts.predictor, out_dim) for _ in dims], own)
    if hasattr(method, "key_projector"):
        parts.key_projector = follower(parts.projector)
    if hasattr(method, "queue"):
        parts.queue = Queue(len(parts.queue.keys), len(dims) * out_dim, batch_size=1)
    method.register_forward_hook(partial(_mean_bound, len(dims)))
    return method


def _mean_bound(blocks: int, _: nn.Module, __: Any, output: StepOutput) -> StepOutput:  # noqa: ANN401
    """Log the mean over the prefixes of the bound on mutual information, as its loss is a sum."""
    loss, logs = output
    if (limit := logs.get("mutual_information_limit")) is None:
        return output
    bound = limit - (limit - logs["mutual_information"]) / blocks
    return StepOutput(loss, {**logs, "mutual_information": bound})


def _renewed(network: nn.Sequential, inputs: int) -> nn.Sequential:
    """The same layers with new weights, for another number of inputs."""
    made, first = deepcopy(network), network[0]
    assert isinstance(first, nn.Linear)
    made[0] = nn.Linear(inputs, first.out_features, bias=first.bias is not None)
    for layer in made[1:]:
        if isinstance(layer, nn.Linear | nn.BatchNorm1d):
            layer.reset_parameters()
    return made
