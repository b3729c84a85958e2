"""Embeddings in TensorBoard's projector."""

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.augment import unsquash
from ssl_dml.console import plain
from ssl_dml.data import SampleSet
from ssl_dml.reporting.images import drawn
from ssl_dml.reporting.trackers import board

PROJECTED, THUMBNAIL = 1000, 32  # samples, and pixels of each
CHUNK = 64


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
    """Fill TensorBoard's projector with names, classes and thumbnails, on the first process.

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


def _small(samples: SampleSet, rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows c h w"]:
    seen = unsquash(samples[rows][0], samples.aspects_at(rows), samples.spec)
    return drawn(seen, samples.spec)
