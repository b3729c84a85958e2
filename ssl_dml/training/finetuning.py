"""Freezing, learning-rate multipliers, and the two phases of fine-tuning."""

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from ssl_dml.backbones import Backbone, layers
from ssl_dml.backbones.adapters import check_adapters
from ssl_dml.checks import at_least, fraction, positive
from ssl_dml.training.adapt import adapt_by_lora
from ssl_dml.training.finetuner import Finetuner
from ssl_dml.training.freezable import Freezable
from ssl_dml.training.loop import TrainConfig, fit
from ssl_dml.training.optimizers import fuse, layerwise_lr_scales
from ssl_dml.training.splitting import split_encoders
from ssl_dml.types import Batch, ConfigError


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """How fast each part of the network moves.

    Args:
        freeze_epochs: Epochs in which the backbone is frozen.
        backbone_lr_scale: Learning-rate multiplier of the backbone's last layer.
        layer_decay: Multiplier from each layer to the one before it, at most 1.
        head_lr_scale: Learning-rate multiplier of the head; proxies want more than the network.
        lora_rank: Rank of low-rank adapters (LoRA), which then train in place of the backbone's
            weights, with the extra ``lora``; null trains the weights.
    """

    freeze_epochs: float = 0.0
    backbone_lr_scale: float = 1.0
    layer_decay: float = 1.0
    head_lr_scale: float = 1.0
    lora_rank: int | None = None

    def __post_init__(self) -> None:
        at_least(0, "finetune", freeze_epochs=self.freeze_epochs)
        positive("finetune", backbone_lr_scale=self.backbone_lr_scale)
        positive("finetune", head_lr_scale=self.head_lr_scale)
        fraction("finetune", layer_decay=self.layer_decay)
        at_least(1, "finetune", lora_rank=self.lora_rank)
        if self.lora_rank is not None:
            check_adapters(self._lora)

    @property
    def _lora(self) -> str:
        return f"finetune.lora_rank is {self.lora_rank}"

    def check_start(self, init: str | None) -> None:
        """Raise if random weights would stay as they are.

        Raises:
            ConfigError: If there are to be adapters and no ``init``.
        """
        if init is None and self.lora_rank is not None:
            raise ConfigError(
                f"{self._lora} and would keep random weights as they are; name trained ones with "
                "--init, or set it to null"
            )

    def apply(self, backbone: Backbone) -> None:
        """Add adapters if they are asked for, in place.

        Raises:
            ConfigError: If no layer can have one.
        """
        if self.lora_rank is not None:
            adapt_by_lora(backbone, self.lora_rank, setting=self._lora)

    def split(self, model: Finetuner) -> None:
        """Split the backbone over the processes if FSDP is asked for."""
        frozen = {"setting": "finetune.freeze_epochs", "frozen": self.freeze_epochs}
        split_encoders(model.encoders, **frozen)

    def lr_scales(self, model: Finetuner) -> dict[nn.Parameter, float]:
        """Learning-rate multiplier of each parameter of backbone and head.

        Raises:
            ConfigError: If nothing is left to train while the backbone is frozen.
        """
        model.freeze(self.freeze_epochs > 0)
        trainable = any(p.requires_grad for p in model.parameters())
        model.freeze(False)
        if not trainable:
            raise ConfigError(
                f"finetune.freeze_epochs is {self.freeze_epochs} and leaves nothing to train: "
                f"neck is none and head {type(model.head).__name__} has no weights"
            )
        scales = layerwise_lr_scales(
            layers(model.embedder.backbone), rate=self.backbone_lr_scale, decay=self.layer_decay
        )
        return scales | dict.fromkeys(model.head.parameters(), self.head_lr_scale)


def fit_in_phases(
    model: Freezable,
    optimizer: Any,  # noqa: ANN401 - what accelerate makes of an optimizer
    scheduler: LRScheduler,
    batches: Iterable[Batch],
    *,
    frozen: int,
    start: int,
    steps: int,
    config: TrainConfig,
    accelerator: Accelerator,
) -> Iterator[int]:
    """Steps with the backbone frozen, then steps with all; DDP is built anew between them.

    Args:
        model: Not prepared by accelerate.
        optimizer: Prepared.
        scheduler: Not prepared.
        batches: Endless labeled batches on the device.
        frozen: Steps in which the backbone is frozen.
        start: Updates already made.
        steps: Updates in the whole run.
        config: Clipping and logging.
        accelerator: The processes of the run.
    """
    # A scaler of gradients and kernels that promise their bits are for the plain optimizer.
    plain = config.deterministic or accelerator.scaler is not None
    fuse(optimizer, accelerator.device, wanted=not plain)
    for end, freeze in ((min(frozen, steps), True), (steps, False)):
        if start < end:
            model.freeze(freeze)
            # A copy of the same parameters, since accelerate prepares no module a second time.
            prepared = accelerator.prepare_model(
                copy(model), evaluation_mode=not model.shares_gradients
            )
            yield from fit(
                prepared, optimizer, scheduler, batches,
                start=start, steps=end, config=config, accelerator=accelerator,
            )  # fmt: skip
            start = end
