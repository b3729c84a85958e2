"""The one loop, shared by pretraining and fine-tuning."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from ssl_dml.checks import at_least, in_range, inside, positive
from ssl_dml.distributed import all_reduce_mean, gather, own_part, world_size
from ssl_dml.memory import gradient_norm
from ssl_dml.reporting import check_trackers
from ssl_dml.stops import NonFiniteError
from ssl_dml.types import Batch, ConfigError

SAMPLES_NAMED = 8
SMALL = 1e-6  # beside a norm, as torch has it
MAX_OVERFLOWS = 50
MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long to train, how fast, and what to keep.

    Args:
        steps: Optimizer steps in the whole run; or give epochs.
        epochs: Passes over the data, rounded to whole steps; or give steps.
        warmup_epochs: Passes over which the learning rate rises, at most half of the run.
        lr_scaling: How the optimizer's rate, meant for a batch of 256, follows the batch.
        accumulation: Batches whose gradients make one step. A contrastive loss still compares
            within each batch only.
        encode_chunk: Samples whose activations a process holds at a time, so that a batch that
            fits the loss can be trained; the backbone then runs forward twice. Null for all.
        clip_norm: Gradient norm above which gradients are scaled down; null to leave them.
        ema: In pretraining, probe and save an average of the backbone's weights, of which a step
            keeps this fraction, such as 0.999; null for the weights of the last step.
        precision: bf16 and fp16 run the networks in autocast; auto takes what accelerate was
            launched with, else bf16 where the hardware has it and no autocast elsewhere.
        log_every: Steps between two rows of metrics.
        save_every: Steps between two checkpoints.
        keep: Newest checkpoints that are kept.
        trackers: What the metrics are logged to besides ``metrics.jsonl``, by the names that
            accelerate has: tensorboard, wandb, mlflow, trackio and others that are installed.
        compile: Compile the encoders for their device when they first run (``torch.compile``), for
            steps that are faster after it; losses stay as they are.
        deterministic: Ask an accelerator for kernels that give the same bits each time, which is
            slower; processors always do.
        threads: Threads of this process on the processor; null shares the machine's cores evenly.
        timeout_minutes: Minutes that a process waits for another, such as one that decodes the
            data of its machine, before the run ends.
    """

    steps: int | None = None
    epochs: float | None = None
    warmup_epochs: float = 0.0
    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    accumulation: int = 1
    encode_chunk: int | None = None
    clip_norm: float | None = None
    ema: float | None = None
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    log_every: int = 10
    save_every: int = 1000
    keep: int = 2
    trackers: tuple[str, ...] = ("tensorboard",)
    compile: bool = False
    deterministic: bool = False
    threads: int | None = None
    timeout_minutes: float = 120.0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ConfigError("give either train.steps or train.epochs")
        names = ("steps", "epochs", "accumulation", "encode_chunk", "clip_norm", "log_every",
                 "save_every", "keep", "threads", "timeout_minutes")  # fmt: skip
        positive("train", **{name: getattr(self, name) for name in names})
        at_least(0, "train", warmup_epochs=self.warmup_epochs)
        inside(0, 1, "train", ema=self.ema)
        check_trackers(self.trackers)
        in_range(1, MOST_THREADS, "train", threads=self.threads)

    def plan(self, batches_per_epoch: int) -> "Plan":
        """Steps of the run on data with so many batches in an epoch."""
        per_epoch = batches_per_epoch / self.accumulation
        steps = self.steps or max(1, round((self.epochs or 0) * per_epoch))
        warmup = min(round(self.warmup_epochs * per_epoch), steps // 2)
        return Plan(steps=steps, warmup=warmup, per_epoch=per_epoch, accumulation=self.accumulation)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many steps a run has, and when something is due.

    Args:
        steps: Optimizer steps in the whole run.
        warmup: Steps over which the learning rate rises.
        per_epoch: Optimizer steps in an epoch.
        accumulation: Batches in a step.

    Examples:
        >>> plan = TrainConfig(epochs=4.0, warmup_epochs=1.0, accumulation=2).plan(10)
        >>> plan.steps, plan.warmup, plan.per_epoch
        (20, 5, 5.0)
        >>> [step for step in range(1, 21) if plan.due(step, every_epochs=3)]
        [15, 20]
    """

    steps: int
    warmup: int
    per_epoch: float
    accumulation: int

    def due(self, step: int, *, every_epochs: int | float) -> bool:
        """Whether what happens every so many epochs happens now; at the last step it does."""
        return step == self.steps or step % max(1, round(every_epochs * self.per_epoch)) == 0


def fit(
    model: nn.Module,
    optimizer: Any,  # noqa: ANN401 - what accelerate makes of an optimizer
    scheduler: LRScheduler,
    batches: Iterable[Batch],
    *,
    start: int,
    steps: int,
    config: TrainConfig,
    accelerator: Accelerator,
) -> Iterator[int]:
    """Minimize ``model(batch).loss``, yielding the step number after each update.

    Time that the consumer takes between two steps does not count as training time.

    Args:
        model: Prepared by ``accelerator``; returns a ``StepOutput``.
        optimizer: Prepared too.
        scheduler: Not prepared; it is stepped once an update.
        batches: Endless batches on the device.
        start: Updates already made.
        steps: Updates in the whole run.
        config: Clipping and logging.
        accelerator: Accumulation, precision, gradients and logging.

    Raises:
        NonFiniteError: If the loss or the gradient's norm is not finite, with step and samples.
    """
    watch = _Watch(accelerator)
    step, seen, busy, began = start, 0, 0.0, time.perf_counter()
    model.train()
    if start >= steps:
        return
    for batch in batches:
        with accelerator.accumulate(model):
            loss, logs = model(batch)
            accelerator.backward(loss)
            norm = _clip(model, config.clip_norm, accelerator)
            watch.note(step + 1, loss, norm, batch.indices)
            optimizer.step()
            optimizer.zero_grad()
        seen += len(batch.indices) * world_size()
        if not accelerator.sync_gradients:
            continue
        scheduler.step()
        step += 1
        if step == steps:
            watch.check()
        log = None
        if step % config.log_every == 0 or step == steps:
            values = {"loss": loss, **logs, "grad_norm": norm}
            log = {f"train/{name}": all_reduce_mean(v.float()).item() for name, v in values.items()}
        busy += time.perf_counter() - began
        if log is not None:
            log |= {"train/lr": scheduler.get_last_lr()[0], "train/samples_per_s": seen / busy}
            accelerator.log(log, step=step)
            seen, busy = 0, 0.0
        yield step
        if step == steps:  # before another batch is taken, which may be somebody else's
            return
        began = time.perf_counter()


def _clip(model: nn.Module, limit: float | None, accelerator: Accelerator) -> Tensor:
    """Norm of the whole gradient before clipping; 0 while gradients still accumulate."""
    if not accelerator.sync_gradients:
        return torch.zeros((), device=accelerator.device)
    accelerator.unscale_gradients()  # of fp16; elsewhere this does nothing
    norm = gradient_norm(model)
    if limit is not None:
        gradients = [own_part(p.grad) for p in model.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, (limit / (norm + SMALL)).clamp(max=1.0))
    return norm


class _Watch:
    """Stops a run whose numbers are no longer finite.

    On an accelerator a step is judged while the next one runs, by a copy that nobody waits for.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.patient = accelerator.device.type != "cpu"
        # A gradient scaler looks for its scale by overflowing now and then.
        self.allowed = MAX_OVERFLOWS if accelerator.scaler is not None else 0
        self.overflows = 0
        self.pending: list[tuple[int, Callable[[], list[bool]], Tensor, Tensor, Tensor]] = []

    def note(self, step: int, loss: Tensor, norm: Tensor, indices: Tensor) -> None:
        """Remember a step, and judge what is due."""
        if self.patient:
            self.check()
        loss = loss.detach()
        finite = torch.stack([gather(loss.isfinite()[None]).all(), norm.isfinite()])
        self.pending.append((step, _copied(finite), loss, norm, indices))
        if not self.patient:
            self.check()

    def check(self) -> None:
        """Judge every step that was noted and not yet judged."""
        for step, finite, loss, norm, indices in self.pending:
            loss_is, norm_is = finite()
            self.overflows = 0 if norm_is else self.overflows + 1
            if not loss_is or self.overflows > self.allowed:
                rows = gather(indices).sort().values.tolist()
                shown = ", ".join(map(str, rows[:SAMPLES_NAMED]))
                more = f" and {len(rows) - SAMPLES_NAMED} more" if len(rows) > SAMPLES_NAMED else ""
                raise NonFiniteError(
                    f"step {step}: loss {all_reduce_mean(loss).item():g}, "
                    f"gradient norm {norm.item():g} on samples {shown}{more}",
                    rows,
                )
        self.pending.clear()


def _copied(values: Tensor) -> Callable[[], list[bool]]:
    """Start a copy to the host; what is returned waits for it, and for nothing that came later."""
    if values.device.type == "cpu":
        return values.tolist
    copy, event = values.to("cpu", non_blocking=True), torch.Event(device=values.device)
    event.record()

    def arrived() -> list[bool]:
        event.synchronize()
        return copy.tolist()

    return arrived
