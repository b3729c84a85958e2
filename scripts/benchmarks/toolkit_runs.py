"""SimCLR by this toolkit, lightly or stable-pretraining, on the same network, batch and data.

``python -m benchmarks.toolkit_runs`` is the process that ``benchmarks.toolkits`` measures.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
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
from ssl_dml.data import DataConfig, SampleSet, load_test, load_train
from ssl_dml.evaluation import knn
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ImageSpec

CONFIGS = Path(__file__).parents[2] / "configs"
BATCH, SIDE, DIM, WARM_UP = 256, 28, 128, 4
OPTIONS = {"layers": [2, 2, 2, 2], "zero_init_last": False}
USUAL = "fashion_mini"
MEAN = STD = 0.3


def decoded(source: str) -> tuple[SampleSet, SampleSet | None]:
    """The samples to train on and those to test on, as RGB images."""
    config = DataConfig(source=source, channels=3, image_size=SIDE)
    train = load_train(config)
    return train, load_test(config, train)


class Colored(Dataset[Any]):
    """The samples to train on as RGB images of PIL."""

    def __init__(
        self, transform: Callable[[Any], Any], *, source: str = USUAL, as_dict: bool = False
    ) -> None:
        train, _ = decoded(source)
        pixels = train[torch.arange(len(train))][0].permute(0, 2, 3, 1).numpy()
        self.images = [Image.fromarray(np.ascontiguousarray(one)) for one in pixels]
        self.transform, self.as_dict = transform, as_dict

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401
        if self.as_dict:
            return self.transform({"image": self.images[index], "label": 0})
        return self.transform(self.images[index]), 0


class Network(nn.Module):
    """The backbone with its projector, the same for all."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        spec = ImageSpec(channels=3, size=SIDE, mean=(MEAN,) * 3, std=(STD,) * 3)
        self.backbone = TimmBackbone(spec, name="resnet18", width=0.25, options=OPTIONS)
        width = self.backbone.feature_dim
        self.projector = mlp(width, width, DIM, layers=2)

    def forward(self, view: Tensor) -> Tensor:
        """Embed a view."""
        return self.projector(self.backbone(view))


def score(backbone: TimmBackbone, source: str) -> float:
    """Weighted kNN of the test samples among those trained on, by frozen features."""
    backbone.eval()
    tables = list[EmbeddingTable]()
    for samples in decoded(source):
        if samples is None or samples.labels is None:
            raise ValueError(f"{source} has no labeled test samples")
        parts = torch.arange(len(samples)).split(BATCH)
        with torch.no_grad():
            rows = [backbone((samples[part][0] / 255 - MEAN) / STD) for part in parts]
        tables.append(EmbeddingTable(embeddings=torch.cat(rows), labels=samples.labels))
    return knn(tables[0], tables[1])["knn_top1"]


def flags(source: str) -> list[str]:
    """What the default run needs to have the network, batch and views of the others."""
    return [
        f"--data.source={source}",
        "--data.channels=3",
        f"--data.image_size={SIDE}",
        f"--data.batch_size={BATCH}",
        "--augment.class_path=ssl_dml.augment.Color",
        "--augment.init_args.crops.resolution=1.0",
        f"--backbone.init_args.options={json.dumps(OPTIONS)}",
    ]


def ours(source: str) -> Iterator[None]:
    """Steps of a real run."""
    config, values = parse(PretrainConfig, flags(source), default=CONFIGS / "pretrain/default.yaml")
    with sides(config, values) as found:
        for _ in found.real:
            yield


def trained_here(source: str, steps: int, seed: int) -> float:
    """The last kNN that a run prints."""
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/run"
        own = [f"--output_dir={run}", f"--seed={seed}", f"--train.steps={steps}"]
        command = [sys.executable, "-m", "ssl_dml", "pretrain", "--config=default"]
        subprocess.run([*command, *flags(source), *own], check=True, stdout=sys.stderr)
        lines = Path(run, "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["eval/knn_top1"] for row in rows if "eval/knn_top1" in row][-1]


def lightly(
    network: Network, source: str, *, tuned: bool, steps: int | None = None
) -> Iterator[None]:
    """Steps as lightly's example of SimCLR makes them; tuned, in bf16 and channels_last."""
    from lightly.loss import NTXentLoss  # pyright: ignore[reportMissingImports]
    from lightly.transforms import SimCLRTransform  # pyright: ignore[reportMissingImports]

    scale = {"mean": [MEAN] * 3, "std": [STD] * 3}
    transform = SimCLRTransform(
        input_size=SIDE, cj_strength=0.5, gaussian_blur=0.0, min_scale=0.2, normalize=scale
    )
    criterion = NTXentLoss(temperature=0.1)
    layout = torch.channels_last if tuned else torch.contiguous_format
    network.to(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps or 1 << 40)
    while True:
        for views, _ in _loader(Colored(transform, source=source)):
            with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
                first, second = (network(v.to(memory_format=layout)) for v in views)
                loss = criterion(first, second)
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            yield


def _loader(images: Dataset[Any], **options: Any) -> DataLoader[Any]:  # noqa: ANN401
    workers = len(os.sched_getaffinity(0))
    return DataLoader(
        images, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers, **options
    )


def stable_pretraining(network: Network, source: str, steps: int) -> float:
    """Samples a second of its trainer, with the forward pass that it has for SimCLR."""
    import lightning  # pyright: ignore[reportMissingImports]
    import stable_pretraining as spt  # pyright: ignore[reportMissingImports]
    from stable_pretraining.data import transforms  # pyright: ignore[reportMissingImports]
    from stable_pretraining.forward import simclr  # pyright: ignore[reportMissingImports]

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
        transforms.ToImage(mean=[MEAN] * 3, std=[STD] * 3),
    )
    images = Colored(transforms.MultiViewTransform([view, view]), source=source, as_dict=True)
    timer = Timer()
    timer.times = []
    module = spt.Module(
        forward=simclr,
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


def _work(kind: str, steps: int, source: str, seed: int | None) -> float:
    if kind == "ssl_dml":
        if seed is not None:
            return trained_here(source, steps, seed)
        return _rate(ours(source), steps)
    network = Network(seed or 0)
    if kind == "stable-pretraining":
        rate = stable_pretraining(network, source, steps)
    else:
        last = None if seed is None else steps + WARM_UP
        rate = _rate(lightly(network, source, tuned=kind != "lightly", steps=last), steps)
    return rate if seed is None else score(network.backbone, source)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    print(json.dumps(_work(**json.loads(sys.argv[1]))))
