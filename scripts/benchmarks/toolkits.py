"""SimCLR's rate here, in lightly and in stable-pretraining: one network, batch and data."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ssl_dml.backbones import TimmBackbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.commands.benchmark import sides
from ssl_dml.commands.pretrain import PretrainConfig
from ssl_dml.config import parse
from ssl_dml.data import DataConfig, load_train
from ssl_dml.files import write_json
from ssl_dml.types import ImageSpec

CONFIGS = Path(__file__).parents[2] / "configs"
BATCH, SIDE, DIM, WARM_UP = 256, 28, 128, 4
OPTIONS = {"layers": [2, 2, 2, 2], "zero_init_last": False}
KINDS = {
    "ssl_dml": "ssl_dml",
    "lightly": "lightly",
    "lightly, bf16 and channels_last": "lightly",
    "stable-pretraining": "stable_pretraining",
}


def toolkit_table(
    kinds: Sequence[str] = tuple(KINDS),
    *,
    rounds: int = 3,
    steps: int = 20,
    output: Path | None = None,
) -> None:
    """Print samples a second of SimCLR by each, in turns, and how many times as fast this is.

    ResNet-18 of width 16 with a projector of two layers on 10,000 color images of 28 pixels, two
    views, batches of 256, SGD; two views of crops, flips, color jitter and grayscale. The others
    load as their examples do, with a worker for each core (pip install lightly, or
    stable-pretraining); each is a process of its own.

    Args:
        kinds: Which of ``ssl_dml``, ``lightly``, the same with ``bf16 and channels_last``, and
            ``stable-pretraining``.
        rounds: Processes of each.
        steps: Steps of a process that count.
        output: JSON file for the table.

    Raises:
        ValueError: If one is not installed.
        OSError: If a process fails.
    """
    for kind in kinds:
        if find_spec(KINDS[kind]) is None:
            raise ValueError(f"{KINDS[kind]} is not installed: pip install it, or give --kinds")
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            rates[kind].append(measure(kind, steps))
    found = {kind: median(rate) for kind, rate in rates.items()}
    for kind, rate in found.items():
        times = median(a / b for a, b in zip(rates[kinds[0]], rates[kind], strict=True))
        print(f"{kind:34} {rate:8.0f} samples/s {times:8.2f}", flush=True)
    if output is not None:
        write_json(output, {kind: {"rates": rate} for kind, rate in rates.items()})


def measure(kind: str, steps: int) -> float:
    """Samples a second in a process of its own.

    Raises:
        OSError: If the process fails.
    """
    command = [sys.executable, "-m", __name__, kind, str(steps), str(torch.get_num_threads())]
    folder = Path(__file__).parents[1]
    made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if made.returncode:
        reason = (made.stderr.strip() or f"exit code {made.returncode}").splitlines()[-1]
        raise OSError(f"{kind}: {reason}")
    return json.loads(made.stdout.splitlines()[-1])


class Colored(Dataset[Any]):
    """The embedded images of clothes as RGB images of PIL, with their labels."""

    def __init__(self, transform: Callable[[Any], Any], *, as_dict: bool = False) -> None:
        stored = load_train(DataConfig(source="fashion_mini"))
        numbers = np.asarray(stored.samples)[:, 0]
        self.images = [Image.fromarray(numbers[i]).convert("RGB") for i in range(len(numbers))]
        self.transform, self.as_dict = transform, as_dict

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401
        if self.as_dict:
            return self.transform({"image": self.images[index], "label": 0})
        return self.transform(self.images[index]), 0


class Network(nn.Module):
    """The backbone with its projector, the same for all."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        spec = ImageSpec(channels=3, size=SIDE, mean=(0.3,) * 3, std=(0.3,) * 3)
        self.backbone = TimmBackbone(spec, name="resnet18", width=0.25, options=OPTIONS)
        width = self.backbone.feature_dim
        self.projector = mlp(width, width, DIM, layers=2)

    def forward(self, view: Tensor) -> Tensor:
        """Embed a view."""
        return self.projector(self.backbone(view))


def ours() -> Iterator[None]:
    """Steps of a real run."""
    flags = ["--data.channels=3", f"--data.batch_size={BATCH}"]
    flags += [f"--backbone.init_args.options={json.dumps(OPTIONS)}"]
    config, values = parse(PretrainConfig, flags, default=CONFIGS / "pretrain/default.yaml")
    with sides(config, values) as found:
        for _ in found.real:
            yield


def lightly(*, tuned: bool) -> Iterator[None]:
    """Steps as lightly's example of SimCLR makes them; tuned, in bf16 and channels_last."""
    from lightly.loss import NTXentLoss  # pyright: ignore[reportMissingImports]
    from lightly.transforms import SimCLRTransform  # pyright: ignore[reportMissingImports]

    transform = SimCLRTransform(input_size=SIDE, cj_strength=0.5, gaussian_blur=0.0, min_scale=0.2)
    network, criterion = Network(), NTXentLoss(temperature=0.1)
    layout = torch.channels_last if tuned else torch.contiguous_format
    network = network.to(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    while True:
        for views, _ in _loader(Colored(transform)):
            with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
                first, second = (network(v.to(memory_format=layout)) for v in views)
                loss = criterion(first, second)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            yield


def _loader(images: Dataset[Any], **options: Any) -> DataLoader[Any]:  # noqa: ANN401
    workers = len(os.sched_getaffinity(0))
    return DataLoader(
        images, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers, **options
    )


def stable_pretraining(steps: int) -> float:
    """Samples a second of its trainer, with the forward pass that it has for SimCLR."""
    import lightning  # pyright: ignore[reportMissingImports]
    import stable_pretraining as spt  # pyright: ignore[reportMissingImports]
    from stable_pretraining.data import transforms  # pyright: ignore[reportMissingImports]

    class Timer(lightning.Callback):
        """Notes the time after the first steps, and after the last."""

        times: list[float]

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:  # noqa: ANN401
            if trainer.global_step in (WARM_UP, WARM_UP + steps):
                self.times.append(time.perf_counter())

    view = transforms.Compose(
        transforms.RGB(),
        transforms.RandomResizedCrop((SIDE, SIDE), scale=(0.2, 1.0)),
        transforms.RandomHorizontalFlip(p=0.5),
        transforms.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        transforms.RandomGrayscale(p=0.2),
        transforms.ToImage(mean=[0.3] * 3, std=[0.3] * 3),
    )
    images = Colored(transforms.MultiViewTransform([view, view]), as_dict=True)
    network, timer = Network(), Timer()
    timer.times = []
    module = spt.Module(
        forward=spt.forward.simclr,
        backbone=network.backbone,
        projector=network.projector,
        simclr_loss=spt.losses.NTXEntLoss(temperature=0.1),
        optim={"optimizer": {"type": "SGD", "lr": 0.06, "momentum": 0.9, "weight_decay": 5e-4}},
    )
    trainer = lightning.Trainer(
        max_steps=WARM_UP + steps, max_epochs=-1, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, callbacks=[timer],
    )  # fmt: skip
    trainer.fit(module, _loader(images, persistent_workers=True))
    return steps * BATCH / (timer.times[1] - timer.times[0])


def _rate(run: Iterator[None], steps: int) -> float:
    for _ in range(WARM_UP):
        next(run)
    began = time.perf_counter()
    for _ in range(steps):
        next(run)
    return steps * BATCH / (time.perf_counter() - began)


def _work(kind: str, steps: int) -> float:
    if kind == "stable-pretraining":
        return stable_pretraining(steps)
    if kind == "ssl_dml":
        return _rate(ours(), steps)
    return _rate(lightly(tuned=kind != "lightly"), steps)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps(_work(sys.argv[1], int(sys.argv[2]))))
