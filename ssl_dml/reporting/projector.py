"""Embeddings in TensorBoard: its projector, neighbors, mistakes, hubs, and similarities."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.augment import unsquash
from ssl_dml.console import plain
from ssl_dml.data import SampleSet
from ssl_dml.evaluation.confusions import predictions
from ssl_dml.evaluation.hubs import neighborhood
from ssl_dml.evaluation.similarities import pairs
from ssl_dml.reporting.images import drawn, neighbor_strips
from ssl_dml.reporting.trackers import board

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PROJECTED, THUMBNAIL = 1000, 32  # samples, and pixels of each
CHUNK = 64
STRIPS, NEIGHBORS = 10, 8  # samples of an image, and neighbors of each


def projector_rows(samples: SampleSet) -> Int[Tensor, " rows"]:
    """Up to 1,000 evenly spaced samples, whose embeddings TensorBoard is given."""
    return torch.linspace(0, len(samples) - 1, min(len(samples), PROJECTED)).round().long()


def show_embeddings(
    accelerator: Accelerator,
    features: Float[Tensor, "rows dim"],
    samples: SampleSet,
    rows: Int[Tensor, " rows"],
    *,
    step: int,
) -> None:
    """Show embeddings in TensorBoard, on the first process.

    Its projector gets names, classes and thumbnails; its images are neighbors of random samples,
    hubs and outliers, and with labels the neighbors of samples that a kNN has wrong; its
    histograms, with labels, cosines of pairs of one class and of two.

    Args:
        accelerator: Has the trackers.
        features: Embeddings of some samples.
        samples: Their data set.
        rows: Which of it they are.
        step: Step of the network that made them.
    """
    writer = board(accelerator) if accelerator.is_main_process else None
    if writer is None or len(features) < len(rows) or not features.isfinite().all():
        return
    labels = [-1] * len(rows) if samples.labels is None else samples.labels[rows].tolist()
    classes = [samples.class_names[i] if i >= 0 else "" for i in labels]
    known = zip(samples.names.at(rows.tolist()), classes, strict=True)
    metadata = [[plain(name), plain(label) or "none"] for name, label in known]
    images = torch.cat(
        [
            F.interpolate(_small(samples, part), (THUMBNAIL, THUMBNAIL), mode="area")
            for part in rows.split(CHUNK)
        ]
    )
    header = ["name", "class"]
    writer.add_embedding(features, metadata, images, step, "embeddings", metadata_header=header)
    if len(rows) > 1:
        _show_look(writer, features, images, torch.tensor(labels), step)


def _show_look(
    writer: "SummaryWriter",
    features: Float[Tensor, "rows dim"],
    images: Float[Tensor, "rows c h w"],
    labels: Int[Tensor, " rows"],
    step: int,
) -> None:
    near = neighborhood(features, NEIGHBORS)
    random = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    lists = {"neighbors": random, "isolated": near.isolation.argsort(descending=True)}
    lists["hubs"] = near.occurrence.argsort(descending=True, stable=True)
    known = (labels >= 0).nonzero()[:, 0]
    if len(labels[known].unique()) > 1:
        among = neighborhood(features[known], NEIGHBORS)
        lists["mistakes"] = known[predictions(among, labels[known]) != labels[known]]
        cosines = pairs(features[known], labels[known])
        for name, values in (("same_class", cosines.same), ("other_class", cosines.other)):
            if len(values):
                writer.add_histogram(f"cosine/{name}", values, step)
    for name, rows in lists.items():
        chosen = rows[:STRIPS]
        if len(chosen):
            strips = neighbor_strips(images, chosen, near.rows[chosen], labels)
            writer.add_image(name, strips, step)


def _small(samples: SampleSet, rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows c h w"]:
    seen = unsquash(samples[rows][0], samples.aspects_at(rows), samples.spec)
    return drawn(seen, samples.spec)
