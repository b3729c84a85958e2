"""Which part of a backbone moves when pretraining goes on from trained weights."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from ssl_dml.backbones import Backbone, layers
from ssl_dml.backbones.adapters import add_adapters, check_adapters
from ssl_dml.backbones.norms import freeze_batch_norm
from ssl_dml.checks import at_least, fraction
from ssl_dml.progress import say
from ssl_dml.training.optimizers import layerwise_lr_scales
from ssl_dml.training.pretrainer import Pretrainer
from ssl_dml.training.splitting import split_encoders
from ssl_dml.types import ConfigError

RANK = 8


@dataclass(frozen=True, kw_only=True)
class AdaptSettings:
    """What of the backbone learns, and how fast.

    Args:
        train: ``all``; ``norms``, the weights of normalization layers; ``last:N``, the last N
            blocks as layer_decay counts them; or ``lora``, low-rank adapters beside the linear
            layers and convolutions (needs the extra ``lora``), which are merged into the weights
            that are saved. Batch norm of what is frozen keeps its statistics.
        lora_rank: Rank of the adapters; their alpha is twice that.
        layer_decay: Learning-rate multiplier from each block to the one before it, at most 1.
        warmup_epochs: Epochs at the beginning in which the backbone is frozen, and the rest of
            the method, such as its projector, learns.
    """

    train: str = "all"
    lora_rank: int = RANK
    layer_decay: float = 1.0
    warmup_epochs: float = 0.0

    def __post_init__(self) -> None:
        fraction("adapt", layer_decay=self.layer_decay)
        at_least(0, "adapt", warmup_epochs=self.warmup_epochs)
        at_least(1, "adapt", lora_rank=self.lora_rank)
        if not re.fullmatch(r"all|norms|lora|last:[1-9]\d*", self.train):
            raise ConfigError(
                "adapt.train must be all, norms or last:N with N of 1 or more, or lora, got "
                f"{self.train!r}"
            )
        if self.train == "lora":
            check_adapters("adapt.train is lora")
        elif self.lora_rank != RANK:
            raise ConfigError(
                f"adapt.lora_rank is {self.lora_rank}, and adapt.train {self.train} has no "
                "adapters; set adapt.train to lora"
            )

    def check_start(self, init: str | None) -> None:
        """Raise if random weights would stay as they are.

        Raises:
            ConfigError: If something is frozen and there is no ``init``.
        """
        given = {"train": (self.train, "all"), "warmup_epochs": (self.warmup_epochs, 0)}
        for name, (value, plain) in given.items():
            if init is None and value != plain:
                raise ConfigError(
                    f"adapt.{name} is {value} and would keep random weights as they are; name "
                    f"trained ones with --init, or set it to {plain}"
                )

    def apply(self, backbone: Backbone) -> Backbone:
        """Freeze what does not move, in place, and say how much does.

        Raises:
            ConfigError: If the network has no such part.
        """
        if self.train == "lora":
            adapt_by_lora(backbone, self.lora_rank, setting="adapt.train is lora")
        elif self.train != "all":
            self._freeze(backbone)
            say(f"adapt.train is {self.train}: {_trained_share(backbone)}")
        return backbone

    def _freeze(self, backbone: Backbone) -> None:
        chosen = set(_norms(backbone) if self.train == "norms" else self._last(backbone))
        if not any(parameter.requires_grad for parameter in chosen):
            raise ConfigError(
                f"adapt.train is {self.train}, and {_name(backbone)} has no weights in "
                "normalization layers; take all or last:N"
            )
        for parameter in backbone.parameters():
            parameter.requires_grad_(parameter.requires_grad and parameter in chosen)
        freeze_batch_norm(backbone)

    def _last(self, backbone: Backbone) -> list[nn.Parameter]:
        groups, count = layers(backbone), int(self.train.removeprefix("last:"))
        most = len(groups) - 1
        if most < 1:
            raise ConfigError(
                f"adapt.train is {self.train}, and {_name(backbone)} has no blocks; take all or "
                "norms, or give the network a method layers()"
            )
        if count > most:
            raise ConfigError(
                f"adapt.train is {self.train}, and {_name(backbone)} has {most} blocks after its "
                f"first layers; take last:1 to last:{most}, or all"
            )
        return [parameter for group in groups[-count:] for parameter in group]

    def split(self, model: Pretrainer, average: Backbone) -> None:
        """Split the encoders of a method, and the average of its backbone, if FSDP is asked for."""
        frozen = {"setting": "adapt.warmup_epochs", "frozen": self.warmup_epochs}
        split_encoders([*model.encoders, average], **frozen)

    def lr_scales(self, model: Pretrainer) -> dict[nn.Parameter, float]:
        """Learning-rate multiplier of each parameter of the backbone.

        Raises:
            ConfigError: If nothing is left to train while the backbone is frozen.
        """
        model.freeze(self.warmup_epochs > 0)
        trainable = any(p.requires_grad for p in model.parameters())
        model.freeze(False)
        if not trainable:
            raise ConfigError(
                f"adapt.warmup_epochs is {self.warmup_epochs} and leaves nothing to train: "
                f"{type(model.method).__name__} has no weights beside the backbone; set it to 0"
            )
        decay = self.layer_decay
        return layerwise_lr_scales(layers(model.method.backbone), rate=1.0, decay=decay)


def adapt_by_lora(backbone: Backbone, rank: int, *, setting: str) -> None:
    """Train low-rank adapters in place of the weights, and say how much that is.

    Args:
        backbone: The network, which is changed in place.
        rank: Rank of the adapters.
        setting: What asked for it, such as ``adapt.train is lora``.

    Raises:
        ConfigError: If no layer can have an adapter.
    """
    layers_adapted = add_adapters(backbone, rank)
    if not layers_adapted:
        raise ConfigError(
            f"{setting}, and {_name(backbone)} has no linear layer or convolution that can have an "
            "adapter; train its own weights instead"
        )
    say(f"{setting}: {_trained_share(backbone)}, adapters on {layers_adapted} layers")


def _trained_share(network: nn.Module) -> str:
    """How much of a network trains, in words.

    >>> _trained_share(nn.Sequential(nn.Linear(9, 10), nn.Linear(10, 10).requires_grad_(False)))
    '100 of 210 weights of the backbone train (47.6%)'
    """
    counts = [(p.numel(), p.requires_grad) for p in network.parameters()]
    trained, every = sum(n for n, learns in counts if learns), sum(n for n, _ in counts)
    return f"{trained:,} of {every:,} weights of the backbone train ({trained / every:.1%})"


def _norms(network: nn.Module) -> Iterable[nn.Parameter]:
    """Parameters of normalization layers, which torch and timm all name so."""
    for module in network.modules():
        if "norm" in type(module).__name__.lower():
            yield from module.parameters(recurse=False)


def _name(backbone: Backbone) -> str:
    arguments = getattr(backbone, "arguments", {})
    return str(arguments.get("model_name", type(backbone).__name__))
