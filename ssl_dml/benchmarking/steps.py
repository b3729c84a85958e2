"""Check 4: the host does not wait for the device in a steady step."""

import itertools
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from ssl_dml.augment import Color, Crops
from ssl_dml.benchmarking.numerics import INSTANCES, ONE_VIEW, SPEC, VIEWS, every_method
from ssl_dml.benchmarking.setting import FailedError, Found, NotHereError, Setting
from ssl_dml.methods import Method
from ssl_dml.training import Pretrainer, TrainConfig, batches, fit, make_accelerator
from ssl_dml.training.optimizers import parameter_groups
from ssl_dml.training.schedules import warmup_cosine

STEADY, STEPS = 4, 6  # steps that come before the one that is watched; in all
LABELED = ("SupCon",)  # whose labels are checked, for which the host waits


def check_waits(setting: Setting, found: Found) -> None:
    """A steady step of each method without labels, where torch makes every wait an error."""
    if setting.device.type != "cuda":
        raise NotHereError("torch tells of waits on CUDA alone")
    config = TrainConfig(steps=STEPS, precision="bf16", log_every=10**6)
    accelerator, waits = make_accelerator(config, seed=0), list[str]()
    for name, build in every_method().items():
        if name in LABELED:
            continue
        views = 1 if name in ONE_VIEW else 2
        step = _steady(build(), views, config, accelerator)
        torch.cuda.set_sync_debug_mode("error")
        try:
            next(step)
        except RuntimeError as error:
            waits.append(f"{name} at {_place(error)}")
        finally:
            torch.cuda.set_sync_debug_mode("default")
        accelerator.free_memory()
    found["methods"] = len(every_method()) - len(LABELED)
    if waits:
        raise FailedError("the host waits: " + ", ".join(waits))


def _steady(
    method: Method, views: int, config: TrainConfig, accelerator: Accelerator
) -> Iterator[int]:
    """Steps of a run, the first of which have been made."""
    device = accelerator.device
    model = Pretrainer(method).to(device)
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.01, momentum=0.9)
    scheduler = warmup_cosine(optimizer, steps=STEPS, warmup=1)
    augment = Color(SPEC, crops=Crops(views=views)).to(device)
    inputs = batches(_stored(device), augment, device, None)
    model, own = accelerator.prepare_model(model), accelerator.prepare_optimizer(optimizer)
    given = {"start": 0, "steps": STEPS, "config": config, "accelerator": accelerator}
    steps = fit(model, own, scheduler, inputs, **given)
    list(itertools.islice(steps, STEADY))
    return steps


def _stored(device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of samples as the loader has them."""
    generator, pinned = torch.Generator().manual_seed(0), device.type == "cuda"
    while True:
        shape = VIEWS, SPEC.channels, 32, 32
        samples = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        rows = torch.randperm(INSTANCES, generator=generator)[:VIEWS]
        yield (samples.pin_memory(), rows.pin_memory()) if pinned else (samples, rows)


def _place(error: Exception) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "ssl_dml" in f.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
