"""Checks 7 to 9: how fast, and how much memory."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ssl_dml.backbones import Chunked, TimmBackbone
from ssl_dml.benchmarking.numerics import plain_float32
from ssl_dml.benchmarking.setting import FailedError, Found, NotHereError, Setting, apart, at_most
from ssl_dml.losses import nt_xent
from ssl_dml.methods import RunInfo, SimCLR
from ssl_dml.types import Batch, ImageSpec

SHARE = 0.4  # of the memory of a whole batch that chunks may take
TEMPERATURE, WIDTH, CLOSE = 0.1, 128, 1e-4
PER_PAIR = 20  # bytes that the whole matrix needs for a pair of rows, forward and backward


def check_throughput(setting: Setting, found: Found) -> None:
    """SimCLR of a ResNet and a ViT beside their bare networks, from the store and decoded."""
    size, batch = (64, 8) if setting.small else (256, 256)
    folder = setting.folder / "photographs"
    _photographs(folder, 32 if setting.small else 2048, size)
    networks = {"ResNet-50": ["name=resnet50"], "ViT-S/16": ["name=vit_small_patch16_224"]}
    if setting.small:
        networks = {
            "ResNet-18": ["name=resnet18", "width=0.25"],
            "ViT": ["name=vit_tiny_patch16_224"],
        }
    apiece = {
        "store": ["--data.memory_fraction=0.5"],
        "decoded": [
            "--data.memory_fraction=0", "--data.disk_fraction=0",
            f"--data.workers={1 if setting.small else 12}",
        ],
    }  # fmt: skip
    turns, steps = (1, 1) if setting.small else (3, 6)
    for network, options in networks.items():
        for home, flags in apiece.items():
            said = setting.run(
                "benchmark", "--config=imagenet_simclr", f"--data.source={folder}",
                f"--data.batch_size={batch}", f"--data.image_size={size}",
                f"--turns={turns}", f"--steps_a_turn={steps}", "--train.lr_scaling=none",
                *(f"--backbone.init_args.{option}" for option in options), *flags,
                f"--output_dir={setting.folder / 'speed'}",
                f"--data.cache_dir={setting.folder / 'cache'}",
            )  # fmt: skip
            for what, value in _speeds(said).items():
                found[f"{network} {home}, {what}"] = value


def _speeds(said: str) -> dict[str, float]:
    r"""What ``ssl_dml benchmark`` prints.

    >>> _speeds("real run   1691 samples/s\nbare network  1783 samples/s\nratio   0.948")
    {'real': 1691.0, 'bare': 1783.0, 'ratio': 0.948}
    """
    lines = {"real": "real run", "bare": "bare network", "ratio": "ratio"}
    numbers = {name: re.search(rf"{line}\s+([\d.]+)", said) for name, line in lines.items()}
    if not all(numbers.values()):
        raise FailedError(f"ssl_dml benchmark printed no speeds: {said[-200:]}")
    return {name: float(number[1]) for name, number in numbers.items() if number}


def _photographs(folder: Path, count: int, size: int) -> None:
    """Smooth noise as JPEG files, which take as long to decode as photographs of their size."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
        image.save(folder / f"{number:05}.jpg", quality=90)


def check_memory(setting: Setting, found: Found) -> None:
    """Peak memory of a step of SimCLR in chunks beside the whole batch."""
    if setting.device.type != "cuda":
        raise NotHereError("torch tells of the peak of memory on CUDA alone")
    batch, side, chunk = (16, 64, 4) if setting.small else (256, 224, 64)
    whole, chunks = (_peak(setting.device, batch, side, size) for size in (None, chunk))
    found["whole, GB"], found[f"chunks of {chunk}, GB"] = whole, chunks
    if not setting.small:
        at_most(SHARE, {"chunks": chunks / whole}, "share of the memory")


def _peak(device: torch.device, batch: int, side: int, chunk: int | None) -> float:
    """Gigabytes that a step takes beside the network and its views."""
    network = TimmBackbone(ImageSpec.imagenet(side), name="resnet50")
    backbone = network if chunk is None else Chunked(network, chunk)
    method = SimCLR(backbone, RunInfo(num_instances=10**4, batch_size=batch, num_batches=10))
    method.to(device)
    views = [torch.randn(batch, 3, side, side, device=device) for _ in range(2)]
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        loss = method(Batch(views=views, indices=torch.arange(batch, device=device))).loss
    loss.backward()
    return (torch.cuda.max_memory_allocated(device) - before) / 2**30


def check_tiles(setting: Setting, found: Found) -> None:
    """NT-Xent in tiles beside the whole matrix: gradients, time, memory, by the side of a tile."""
    sizes, sides = (4096, 16384, 65536, 131072), (1024, 4096, 8192)
    if setting.small:
        sizes, sides = (256, 512), (64, 256)
    far = dict[str, float]()
    with plain_float32():
        for rows in sizes:
            torch.manual_seed(0)
            own = [torch.randn(rows // 2, WIDTH, device=setting.device) for _ in range(2)]
            views, expected = [view.requires_grad_() for view in own], None
            if rows**2 * PER_PAIR < _free(setting):
                expected = _cost(setting, found, f"{rows} rows, dense", _dense, views)
            for side in sides:
                loss = partial(nt_xent, temperature=TEMPERATURE, tile_size=side)
                gradient = _cost(setting, found, f"{rows} rows, tiles of {side}", loss, views)
                if expected is not None:
                    far[f"{rows} rows in tiles of {side}"] = apart(gradient, expected)
    found["largest difference of a gradient"] = max(far.values())
    at_most(CLOSE, far, "difference of the gradient")


def _free(setting: Setting) -> float:
    if setting.device.type != "cuda":
        return 1e9
    return 0.8 * torch.cuda.mem_get_info(setting.device)[0]


def _dense(first: Tensor, second: Tensor) -> Tensor:
    views = F.normalize(torch.cat([first, second]), dim=1)
    logits = (views @ views.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    own = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(logits, own)


def _cost(
    setting: Setting,
    found: Found,
    name: str,
    loss: Callable[[Tensor, Tensor], Tensor],
    views: list[Tensor],
) -> Tensor:
    """Note time and memory of a loss and its gradient; the gradient of the first views."""

    def step() -> None:
        for view in views:
            view.grad = None
        loss(*views).backward()

    cuda = setting.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(setting.device)
    found[f"{name}, ms"] = 1000 * setting.seconds(step, 3)
    if cuda:
        found[f"{name}, GB"] = torch.cuda.max_memory_allocated(setting.device) / 2**30
    assert views[0].grad is not None
    return views[0].grad.clone()
