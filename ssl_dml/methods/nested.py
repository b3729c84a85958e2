"""Nested features: a contrastive loss for each of several prefixes, so that each serves alone."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar, final

from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.checks import nested_dims
from ssl_dml.methods.base import BankMethod, Method
from ssl_dml.methods.feature_alignment import FeatureAlignment
from ssl_dml.methods.moco import MoCo
from ssl_dml.methods.moco_v3 import MoCoV3
from ssl_dml.methods.momentum import follower
from ssl_dml.methods.nnclr import NNCLR
from ssl_dml.methods.pretexts import Jigsaw, Rotation
from ssl_dml.methods.seed import SEED
from ssl_dml.methods.views import InBatchContrast
from ssl_dml.types import ConfigError, Samples, StepOutput

AnyMethod = TypeVar("AnyMethod", bound=Method)
# Networks of a method that see samples: they run once a step, for all prefixes together.
ENCODERS = ("backbone", "key_backbone", "teacher")


def nested(method: AnyMethod, dims: Sequence[int]) -> AnyMethod:
    """Let a method contrast each of several prefixes of the features, and add the losses.

    The method itself contrasts the whole. Each shorter prefix has all but the encoders for itself:
    a projector, and where the method has them a predictor, a queue, a memory bank and its constant
    Z. So a prefix trains as features of that dimension would. Encoders run once for all, also that
    of keys and a teacher, whose embeddings stay whole.

    The log is that of the whole, with ``loss_{dim}`` of each prefix, and what its own copy logs
    under the same suffix. MoCo that shuffles sends the views to all processes once a prefix.

    Args:
        method: The method, which is changed.
        dims: Dimensions of the prefixes, rising to that of the features.

    Raises:
        ConfigError: If the loss does not read the features, or ``dims`` do not rise to their
            dimension.

    References:
        Kusupati et al., 2022, arXiv:2205.13147, eq. 1, with weights of 1.

    >>> import torch
    >>> from ssl_dml.backbones import TimmBackbone
    >>> from ssl_dml.methods import RunInfo, SimCLR
    >>> from ssl_dml.types import Batch, ImageSpec
    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> run_info = RunInfo(num_instances=100, batch_size=4, num_batches=10)
    >>> method = nested(SimCLR(backbone, run_info), [16, 64])
    >>> batch = Batch([torch.ones(4, 3, 32, 32)] * 2, torch.arange(4))
    >>> round(method(batch).loss.item(), 4)  # embeddings are equal: 2 log(2 * 4 - 1)
    3.8918
    """
    known = InBatchContrast | MoCo | MoCoV3 | NNCLR | BankMethod | SEED | FeatureAlignment
    if not isinstance(method, known):
        raise ConfigError(
            f"nested is for methods whose loss compares features, such as SimCLR, MoCo or NPID; "
            f"{type(method).__name__} compares latents within the network: set it to null"
        )
    *shorter, _ = dims = nested_dims(dims, method.backbone.feature_dim)
    records = {name: _Record() for name in ENCODERS if hasattr(method, name)}
    prefixes = [_for_prefix(method, dim, records) for dim in shorter]
    for name, record in records.items():
        getattr(method, name).register_forward_hook(record.keep)
    parts: Any = method
    parts.prefixes = nn.ModuleList(prefixes)
    if isinstance(method, BankMethod):  # rows of a bank are equal on all processes, or split
        banks = ["bank", *(f"prefixes.{at}.bank" for at in range(len(prefixes)))]
        parts._ddp_params_and_buffers_to_ignore = [f"{bank}.embeddings" for bank in banks]
    total = _Sum(dims, records)
    method.register_forward_pre_hook(total.begin)
    method.register_forward_hook(total.add)
    return method


@final
class _Record:
    """What an encoder returns while the method computes its loss, in order."""

    def __init__(self) -> None:
        self.outputs: list[Tensor] | None = None  # None where nothing is kept, as while probing

    def keep(self, _: nn.Module, __: object, output: Tensor) -> None:
        if self.outputs is not None:
            self.outputs.append(output)


@final
class _Replay(nn.Module):
    """Stands for an encoder: returns what that has returned, or the first values of it."""

    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim, self.rest = dim, list[Tensor]()

    def forward(self, _: Samples) -> Float[Tensor, "batch dim"]:
        return self.rest.pop(0)[:, : self.dim]


@final
class _Sum:
    """Adds to a method's loss those of its prefixes, on the same features."""

    def __init__(self, dims: Sequence[int], records: Mapping[str, _Record]) -> None:
        self.dims, self.records = dims, records

    def begin(self, _: nn.Module, __: object) -> None:
        for record in self.records.values():
            record.outputs = []

    def add(self, method: Any, inputs: tuple[Any, ...], output: StepOutput) -> StepOutput:  # noqa: ANN401
        found = {name: record.outputs or [] for name, record in self.records.items()}
        for record in self.records.values():
            record.outputs = None
        total, logs = output.loss, {**output.logs, f"loss_{self.dims[-1]}": output.loss.detach()}
        for dim, prefix in zip(self.dims, method.prefixes, strict=False):
            for name, outputs in found.items():
                getattr(prefix, name).rest = [*outputs]
            loss, own = prefix(*inputs)
            total = total + loss
            own = {"loss": loss.detach(), **own}
            logs |= {f"{name}_{dim}": value for name, value in own.items()}
        return StepOutput(total, logs)


def _for_prefix(method: AnyMethod, dim: int, records: Mapping[str, _Record]) -> AnyMethod:
    """A copy without encoders, whose projectors take so many values and have new weights."""
    replays = {name: _Replay(None if name == "teacher" else dim) for name in records}
    copy = deepcopy(method, {id(getattr(method, name)): one for name, one in replays.items()})
    parts: Any = copy
    parts.projector = _renewed(parts.projector, dim)
    if hasattr(copy, "key_projector"):
        parts.key_projector = follower(parts.projector)
    for module in copy.modules():
        if isinstance(module, Jigsaw):
            module.patch_head = _renewed(module.patch_head, dim)
        elif isinstance(module, Rotation):
            module.head = _renewed(module.head, dim)
    return copy


def _renewed(network: nn.Sequential, inputs: int) -> nn.Sequential:
    """The same layers with new weights, for another number of inputs."""
    made, first = deepcopy(network), network[0]
    assert isinstance(first, nn.Linear)
    made[0] = nn.Linear(inputs, first.out_features, bias=first.bias is not None)
    for layer in made[1:]:
        if isinstance(layer, nn.Linear | nn.BatchNorm1d):
            layer.reset_parameters()
    return made
