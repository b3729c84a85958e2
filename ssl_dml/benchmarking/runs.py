"""Checks 3, 5, 6 and 10: whole runs, started as a user starts them."""

import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ssl_dml.benchmarking.setting import FailedError, Found, NotHereError, Setting, at_most, rows_of

STATE = "state.pt"  # of a checkpoint
RECIPES = {
    "default": (),
    "moco_v2": (),
    "npid": ("--method.init_args.storage.dtype=bfloat16",),
}
TENTH, RISE = 0.1, 0.03  # of a loss; of an accuracy
TRAINED = 16  # of 20 images of a class in a rehearsal; the others are test samples
SELDOM = ("--evaluation.every_epochs=1000", "--evaluation.max_gallery=500")


def check_precisions(setting: Setting, found: Found) -> None:
    """Runs in bf16 and fp16 end with finite losses near those in float32."""
    kinds = ("no", "bf16") if setting.device.type == "cpu" else ("no", "bf16", "fp16")
    if not torch.amp.is_autocast_available(setting.device.type):
        raise NotHereError(f"torch has no autocast for {setting.device.type}")
    pairs = [(recipe, kind) for recipe in RECIPES for kind in kinds]
    _few(setting)  # are there before the runs start beside each other
    losses = setting.beside([partial(_last_loss, setting, *pair) for pair in pairs])
    ends = dict(zip(pairs, losses, strict=True))
    far = {}
    for (recipe, kind), loss in ends.items():
        found[f"{recipe}, {kind}"] = loss
        whole = ends[recipe, "no"]
        far[f"{recipe} in {kind}"] = abs(loss - whole) / abs(whole)
    at_most(TENTH, far, "difference of the loss")


def _last_loss(setting: Setting, recipe: str, precision: str) -> float:
    folder = setting.folder / f"{recipe}_{precision}"
    steps = 4 if setting.small else 60
    setting.run(
        "pretrain", "--config", recipe, "--output_dir", folder, f"--train.steps={steps}",
        f"--train.precision={precision}", "--train.log_every=2", *SELDOM, *RECIPES[recipe],
        *_few(setting),
    )  # fmt: skip
    losses = [row["train/loss"] for row in rows_of(folder) if "train/loss" in row]
    return float(losses[-1]) if math.isfinite(losses[-1]) else math.inf


def _few(setting: Setting) -> Sequence[str]:
    """How a rehearsal trains: on small batches of some hundred images, and without curves."""
    if not setting.small:
        return ()
    folder = setting.folder / "images"
    if not folder.exists():
        images = np.random.default_rng(0).integers(0, 256, (20, 20, 14, 14), dtype=np.uint8)
        for label, own in enumerate(images):
            for number, image in enumerate(own):
                place = folder / ("train" if number < TRAINED else "test") / f"class_{label}"
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(place / f"{number}.png")
    cache = setting.folder / "cache"
    return (
        f"--data.source={folder}", f"--data.cache_dir={cache}", "--data.batch_size=32",
        "--train.trackers=[]",
    )  # fmt: skip


def check_resume(setting: Setting, found: Found) -> None:
    """A run that was stopped at half and one that was repeated end with the same bits."""
    stems = ("auto",) if setting.small else ("auto", "standard")
    _few(setting)
    differences = setting.beside([partial(_resumed, setting, stem) for stem in stems])
    for stem, (resumed, again) in zip(stems, differences, strict=True):
        found[f"{stem} stem, resumed"], found[f"{stem} stem, repeated"] = resumed, again
    at_most(0, found, "difference")


def _resumed(setting: Setting, stem: str) -> tuple[float, float]:
    """The largest difference of any value from those of a whole run."""
    steps = 4 if setting.small else 12
    flags = [
        "--config=default", f"--train.steps={steps}", f"--train.save_every={steps // 2}",
        "--train.deterministic=true", f"--backbone.init_args.stem={stem}", *SELDOM,
        "--data.batch_size=128", *_few(setting),
    ]  # fmt: skip
    whole, halves, again = (setting.folder / f"{name}_{stem}" for name in ("run", "half", "again"))
    setting.run("pretrain", *flags, "--output_dir", whole)
    shutil.copytree(whole, halves)
    shutil.rmtree(halves / "checkpoints" / f"step_{steps}")
    shutil.rmtree(halves / "backbone")
    setting.run("pretrain", "--output_dir", halves, "--resume", "true")
    setting.run("pretrain", *flags, "--output_dir", again)

    def state(run: Path) -> dict[str, torch.Tensor]:
        path = run / "checkpoints" / f"step_{steps}" / STATE
        return torch.load(path, map_location="cpu", weights_only=True)["model"]

    expected = state(whole)

    def far(run: Path) -> float:
        pairs = [(expected[name].double(), value.double()) for name, value in state(run).items()]
        return max(float((one - two).abs().max()) for one, two in pairs if one.numel())

    return far(halves), far(again)


def check_quick_start(setting: Setting, found: Found) -> None:
    """The quick start, fine-tuning with sampled classes, and three evaluations, with times."""
    run, tuned = setting.folder / "quick", setting.folder / "tuned"
    few = ["--train.steps=4", *_few(setting)] if setting.small else []
    _timed(found, "pretrain", partial(setting.run, "pretrain", "--output_dir", run, *few))
    short = "--train.steps=4" if setting.small else "--train.steps=100"
    tuning = [
        "finetune", "--config", "arcface", "--init", run / "backbone", "--output_dir", tuned,
        short, "--head.init_args.sample_rate=0.5", *_few(setting),
    ]  # fmt: skip
    _timed(found, "finetune", partial(setting.run, *tuning))
    for name, folder in (("knn", run), ("linear", run), ("retrieval", tuned)):
        less = ["--linear.epochs=2"] if name == "linear" else []
        words = ["evaluate", "--config", name, "--run", folder, *less]
        _timed(found, name, partial(setting.run, *words))
    accuracies = [row["eval/knn_top1"] for row in rows_of(run) if "eval/knn_top1" in row]
    found["kNN before"], found["kNN after"] = accuracies[0], accuracies[-1]
    if not setting.small and accuracies[-1] < accuracies[0] + RISE:
        raise FailedError(f"kNN rose by less than {RISE}")


def _timed(found: Found, name: str, job: Callable[[], object]) -> None:
    began = time.perf_counter()
    job()
    found[f"{name}, seconds"] = round(time.perf_counter() - began, 1)


GROUPS = {
    "pretraining": ("pretrain", "--config=default"),
    "split bank": ("pretrain", "--config=npid", "--method.init_args.storage.sharded=true"),
    "MoCo": ("pretrain", "--config=moco_v2"),
    "split and sampled classes": (
        "finetune", "--config=arcface", "--head.init_args.sharded=true",
        "--head.init_args.sample_rate=0.3",
    ),
}  # fmt: skip


def check_group(setting: Setting, found: Found) -> None:
    """Runs in a process group: of two accelerators, or of one process that acts as if of several.

    NCCL refuses two processes on one accelerator.
    """
    several = setting.device.type != "cpu" and torch.accelerator.device_count() > 1
    found["processes"] = 2 if several else 1
    _few(setting)
    jobs = [partial(_grouped, setting, name, several) for name in GROUPS]
    at_most(0, dict(zip(GROUPS, setting.beside(jobs), strict=True)), "exit code")


def _grouped(setting: Setting, name: str, several: bool) -> float:
    command, *flags = GROUPS[name]
    folder = setting.folder / f"group_{name.replace(' ', '_')}"
    less = SELDOM if command == "pretrain" else ()
    words = [
        *flags, *less, "--data.batch_size=32", *_few(setting), "--train.steps=4", "--output_dir",
        folder,
    ]  # fmt: skip
    if several:
        setting.run(command, "--processes=2", *words)
    else:
        alone = Setting(
            device=setting.device, small=setting.small, folder=setting.folder,
            command=[sys.executable, "-m", "ssl_dml.benchmarking.group"],
        )  # fmt: skip
        alone.run(command, *words)
    return 0.0
