"""Views a second of the color recipe beside kornia's operators, as they are and compiled."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

import kornia.augmentation as K
import torch
from torch import Tensor, nn

from ssl_dml.augment import Augmentation, Color, Crops
from ssl_dml.cores import keep_memory
from ssl_dml.types import ImageSpec, SequenceSpec

Recipe = Literal["simclr", "no_blur", "solarize"]
OPTIONS: dict[Recipe, dict[str, Any]] = {
    "simclr": {"blur": 0.5},
    "no_blur": {},
    "solarize": {"blur": 0.5, "solarize": 0.2},
}
PIXELS = 3 << 16  # in a batch, so that one takes about the same time at every size
VIEWS = 2
SIDES = ("stock", "compiled", "ours")


def augment_table(
    sizes: Sequence[int] = (32, 64, 224),
    *,
    recipes: Sequence[Recipe] = ("simclr", "no_blur", "solarize"),
    rounds: int = 5,
    compiled: bool = True,
    clock: Literal["wall", "cpu"] = "wall",
    file: Path | None = None,
) -> None:
    """Print views a second of ours and of stock operators, in turns within one process.

    Args:
        sizes: Sides of the images and of their views, in pixels.
        recipes: SimCLR's with blur, without, and with solarization.
        rounds: Turns of each; the figures are medians.
        compiled: Also compile the stock operators, which takes a minute for each row.
        clock: On a busy machine, seconds of the CPU on one thread say more than those of the wall.
        file: Where the figures go as JSON.
    """
    print(f"{'recipe':10} {'size':>5} {'stock':>9} {'compiled':>9} {'ours':>9} {'times':>12}")
    rows = []
    keep_memory()  # as a run does
    now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]
    for recipe in recipes:
        for size in sizes:
            row = compare(recipe, size, rounds=rounds, compiled=compiled, now=now)
            rows.append(row)
            found = [f"{row[name]:9.0f}" if name in row else f"{'':9}" for name in SIDES]
            times = " ".join(f"{row[f'times_{name}']:5.2f}x" for name in SIDES[:2] if name in row)
            print(f"{recipe:10} {size:5} {' '.join(found)} {times:>14}", flush=True)
    if file is not None:
        file.write_text(json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=1))


def compare(
    recipe: Recipe,
    size: int,
    *,
    rounds: int,
    compiled: bool,
    now: Callable[[], float] = time.perf_counter,
    repeats: int = 3,
) -> dict[str, Any]:
    """Views a second of each side, and how many times as fast ours is: medians over rounds.

    Args:
        recipe: Which recipe.
        size: Side of the images.
        rounds: Turns of each side.
        compiled: Whether the stock operators are also compiled.
        now: The clock.
        repeats: Batches in a turn.
    """
    images = torch.randint(0, 256, (max(8, PIXELS // size**2), 3, size, size), dtype=torch.uint8)
    spec = ImageSpec.imagenet(size)
    makers: dict[str, nn.Module] = {"stock": StockViews(spec, recipe=recipe)}
    if compiled:
        makers["compiled"] = StockViews(spec, recipe=recipe, fixed=True)
        makers["compiled"].compile()
    makers["ours"] = Color(spec, **OPTIONS[recipe])
    for make in makers.values():
        make(images)
        make(images)
    speeds: dict[str, list[float]] = {name: [] for name in makers}
    for number in range(rounds):
        for name in sorted(makers, reverse=bool(number % 2)):
            began = now()
            for _ in range(repeats):
                makers[name](images)
            seconds = now() - began
            speeds[name].append(repeats * VIEWS * len(images) / seconds)
    row: dict[str, Any] = {"recipe": recipe, "size": size}
    for name, found in speeds.items():
        row[name] = median(found)
        ratios = [mine / theirs for mine, theirs in zip(speeds["ours"], found, strict=True)]
        row[f"times_{name}"] = median(ratios)
    return row


class StockViews(Augmentation):
    """The color recipe of kornia's operators, with which a run can be trained.

    Args:
        images: Size and normalization of the images.
        views: Number of views of each image.
        resolution: Side of a view relative to the image.
        recipe: Which steps.
        fixed: Whether the steps of color have a fixed order; a drawn one cannot be compiled.
    """

    def __init__(
        self,
        images: ImageSpec | SequenceSpec,
        *,
        views: int = VIEWS,
        resolution: float | None = 1.0,
        recipe: Recipe = "simclr",
        fixed: bool = False,
    ) -> None:
        super().__init__()
        sides = Crops(resolution=resolution).large(images)
        kernel = max(3, min(sides) // 10 // 2 * 2 + 1)
        order = (0, 1, 2, 3) if fixed else None
        steps: list[nn.Module] = [
            K.RandomResizedCrop(sides, scale=(0.2, 1.0)),
            K.RandomHorizontalFlip(p=0.5),
            K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8, order=order),
            K.RandomGrayscale(p=0.2),
        ]
        if recipe != "no_blur":
            steps.append(K.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5))
        if recipe == "solarize":
            steps.append(K.RandomSolarize((0.5, 0.5), (0.0, 0.0), p=0.2))
        steps.append(K.Normalize(torch.tensor(images.mean), torch.tensor(images.std)))
        self.views, self.steps = views, nn.Sequential(*steps)

    @torch.no_grad()
    def forward(self, samples: Tensor, _: Tensor | None = None) -> list[Tensor]:
        """Return the views, all of them made at once."""
        images = (samples.float() / 255).repeat(self.views, 1, 1, 1)
        return list(self.steps(images).chunk(self.views))
