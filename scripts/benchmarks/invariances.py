"""Which invariances help and which harm, on images of each kind."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from benchmarks.kinds import cut_photographs, draw_icons, mix_bands
from ssl_dml import augment
from ssl_dml.augment import Augmentation
from ssl_dml.augment.views import Crops
from ssl_dml.backbones import Backbone, EdgeBackbone, TimmBackbone
from ssl_dml.data import DataConfig, SampleSet, load_train, make_loader
from ssl_dml.data.samplers import EpochBatches
from ssl_dml.data.traits import Traits, traits_of
from ssl_dml.evaluation import embed, encoder, pixel_features
from ssl_dml.evaluation.embed import evaluating
from ssl_dml.methods import RunInfo, SimCLR
from ssl_dml.progress import say
from ssl_dml.training import warmup_cosine
from ssl_dml.training.choices import SMALL, TABLE
from ssl_dml.types import Batch, ImageSpec

Set = Literal["clothes", "hangul", "photographs", "bands", "icons", "icons by edges"]
SETS: tuple[Set, ...] = ("clothes", "hangul", "photographs", "bands", "icons", "icons by edges")
SIDE, BATCH, ROWS = 32, 128, 2_000
CPU = torch.device("cpu")
# What views differ in besides a mild crop and brightness: one thing a column.
CHANGES = ("nothing more", "color", "grayscale", "flip", "rotation", "strong crop")
CROPS: dict[str, dict[str, Any]] = {
    "flip": {"flip": 0.5},
    "rotation": {"degrees": 20.0},
    "strong crop": {"scale": (0.2, 1.0)},
}
# By recipe: what is off, what "color" turns on, and what "grayscale" does.
STEPS: dict[str, tuple[dict[str, float], ...]] = {
    "Gray": ({"gamma": 0.0}, {"gamma": 1.0}, {}),
    "Color": (
        {"saturation": 0.0, "hue": 0.0, "grayscale": 0.0},
        {"saturation": 0.4, "hue": 0.1},
        {"grayscale": 0.5},
    ),
    "ManyChannel": ({"gain": 0.0, "drop": 0.0}, {"gain": 0.3}, {"drop": 0.1}),
}


def invariance_table(
    *,
    sets: Sequence[Set] = SETS,
    steps: int = 150,
    seeds: int = 1,
    folder: Path = Path("runs/invariances"),
) -> None:
    """Train SimCLR with each change of views alone, equally long, and print a table.

    Everything is measured on training images, which leaves test images unseen: recall@1 of up to
    2,000 of them among each other. No label is trained on.

    Args:
        sets: Which rows; "icons by edges" are icons seen by an ``EdgeBackbone``.
        steps: Steps of 128 images of each training.
        seeds: Seeds 0, 1, ... of each; the table has their means.
        folder: Where images are drawn.
    """
    say(f"| images | taken for | raw pixels | {' | '.join(CHANGES)} |")
    say(f"|{'---|' * (3 + len(CHANGES))}")
    for name in sets:
        train = _opened(name, folder)
        traits = traits_of(train, accelerator=False)
        rows = _compared(train)
        raw = recall(embed(pixel_features, train, rows, device=CPU), train, rows)
        cells = [f"{raw:.1f}"]
        for change in CHANGES:
            views = views_of(traits, train.spec, change)
            found = [
                trained(train, rows, views, edges="edges" in name, steps=steps, seed=seed)
                for seed in range(seeds if views is not None else 0)
            ]
            cells.append(f"{mean(found):.1f}" if found else "")
        say(f"| {name} | {traits.kind} | {' | '.join(cells)} |")


def _opened(name: Set, folder: Path) -> SampleSet:
    """The training images of a set, drawn if they are not there yet."""
    made = {"photographs": cut_photographs, "bands": mix_bands, "icons": draw_icons}
    known = {"clothes": "fashion_mini", "hangul": "hangul"}
    kind = name.removesuffix(" by edges")
    if kind in made:
        made[kind](folder / kind)
    source = known.get(kind, str(folder / kind))
    return load_train(DataConfig(source=source, image_size=None if kind in known else SIDE))


def _compared(train: SampleSet) -> Tensor:
    """Up to 2,000 rows that are not alone in their class, classes together, spread over all."""
    assert train.labels is not None
    counts = train.labels.bincount()
    several = (counts[train.labels] > 1).nonzero()[:, 0]
    if len(counts) < ROWS // 10:
        return several[torch.linspace(0, len(several) - 1, min(ROWS, len(several))).long()]
    return several[train.labels[several].argsort(stable=True)][:ROWS].sort().values


def recall(features: Float[Tensor, "rows dim"], train: SampleSet, rows: Tensor) -> float:
    """Percentage of rows whose nearest other one, by centered cosine, is of their class."""
    assert train.labels is not None
    unit = F.normalize(features - features.mean(dim=0), dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-2.0).argmax(dim=1)
    labels = train.labels[rows]
    return 100 * (labels == labels[nearest]).double().mean().item()


def views_of(traits: Traits, spec: Any, change: str) -> Augmentation | None:  # noqa: ANN401
    """The recipe of a kind with a mild crop and one change; None if it is none for the kind."""
    assert isinstance(spec, ImageSpec)
    name = TABLE[traits.kind].views
    off, color, gray = STEPS[name]
    if change == "grayscale" and not gray:
        return None
    crops = {"scale": (0.6, 1.0), "flip": 0.0, "resolution": 0.75} | CROPS.get(change, {})
    more = {"color": color, "grayscale": gray}.get(change, {})
    recipe: Any = getattr(augment, name)
    return recipe(spec, crops=Crops(**crops), **(off | more))


def trained(
    train: SampleSet,
    rows: Tensor,
    views: Augmentation | None,
    *,
    edges: bool,
    steps: int,
    seed: int,
) -> float:
    """Recall@1 of a small network after so many steps without labels, in percent."""
    assert views is not None and isinstance(train.spec, ImageSpec)
    torch.manual_seed(seed)
    network: type[Backbone] = EdgeBackbone if edges else TimmBackbone
    backbone: Any = network(train.spec, name="resnet18", **SMALL)
    told = RunInfo(num_instances=len(train), batch_size=BATCH, num_batches=steps)
    model = SimCLR(backbone, told)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4)
    scheduler = warmup_cosine(optimizer, steps=steps, warmup=steps // 10)
    order = EpochBatches(len(train), BATCH, seed=seed, rank=0, world_size=1)
    for stored, indices in itertools.islice(make_loader(train, order), steps):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(Batch(views(stored), indices)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    with evaluating(backbone):
        return recall(embed(encoder(backbone, CPU), train, rows, device=CPU), train, rows)
