"""From a data set and an encoder to tables of embeddings."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.augment import Normalize
from ssl_dml.backbones import Backbone
from ssl_dml.data import SampleSet
from ssl_dml.data.dataset import batches
from ssl_dml.distributed import gather, rank, world_size
from ssl_dml.evaluation.log_mel import log_mel_statistics
from ssl_dml.progress import progress
from ssl_dml.types import EmbeddingTable, ImageSpec, Pixels, SequenceSpec, Stored, as_floats

PIXEL_SIDE = 32
Encoder = Callable[[Stored], Float[Tensor, "batch dim"]]


@dataclass(frozen=True, kw_only=True)
class ProbeSplit:
    """Which labeled samples are searched, and which are asked about.

    Args:
        gallery: Data set that is searched.
        gallery_rows: Its rows that take part.
        query: Data set that is asked about.
        query_rows: Its rows that take part.
        description: The same in words.
    """

    gallery: SampleSet
    gallery_rows: Int[Tensor, " rows"]
    query: SampleSet
    query_rows: Int[Tensor, " asked"]
    description: str


def probe_split(
    train: SampleSet, test: SampleSet | None, *, max_gallery: int | None = None
) -> ProbeSplit | str:
    """Choose gallery and query, or say why there is nothing to probe.

    The test samples ask about those of training when they have the same classes. Otherwise a
    tenth of the training samples, at most 10,000 and the same ones each time, ask about the
    rest; their labels serve the probe alone.

    Args:
        train: Samples to train on.
        test: Samples held out, if there are any.
        max_gallery: More gallery samples than this are thinned to it.
    """
    labels = train.labels
    if labels is None:
        return "no probe: the samples have no labels (sub-folders, or a label column, give them)"
    known = (labels >= 0).nonzero()[:, 0]
    if len(labels[known].unique()) == 1:
        return "no probe: all samples are of one class"
    generator = torch.Generator().manual_seed(0)
    order = known[torch.randperm(len(known), generator=generator)]
    asked = None if test is None else test.labels
    if test is not None and asked is not None and torch.isin(asked, labels).all():
        query, query_rows, gallery_rows = test, (asked >= 0).nonzero()[:, 0], order
        words = f"{len(query_rows):,} test samples"
    else:
        held = max(1, min(len(known) // 10, 10_000))
        query, query_rows, gallery_rows = train, order[:held].sort().values, order[held:]
        words = f"{held:,} held-out training samples"
    gallery_rows = gallery_rows[:max_gallery].sort().values
    return ProbeSplit(
        gallery=train,
        gallery_rows=gallery_rows,
        query=query,
        query_rows=query_rows,
        description=f"{words} ask {len(gallery_rows):,} training samples",
    )


def encoder(backbone: Backbone, device: torch.device) -> Encoder:
    """From stored samples to features: the backbone behind its own normalization, in float32."""
    normalize = Normalize(backbone.inputs).to(device)
    return lambda samples: backbone(normalize(samples))


@torch.no_grad()
def embed(
    encode: Encoder,
    samples: SampleSet,
    rows: Int[Tensor, " rows"],
    *,
    device: torch.device,
    batch_size: int = 256,
) -> Float[Tensor, "found dim"]:
    """Features of some rows of a data set, on the CPU.

    Every process encodes its part and the first keeps all; on the others there are no rows.

    Args:
        encode: From stored samples on ``device`` to features.
        samples: The data set.
        rows: Which of its samples, in which order.
        device: That of the run, where the encoder is and what processes exchange.
        batch_size: Samples a process encodes at once.
    """
    world, own = world_size(), slice(rank() * batch_size, (rank() + 1) * batch_size)
    parts = [torch.empty(0, 1)]
    bar = progress(len(rows), "embedding", "samples", delay=5.0)
    chunks = rows.split(world * batch_size)
    shares = chunks
    if world > 1:
        shares = [F.pad(chunk, (0, world * batch_size - len(chunk)))[own] for chunk in chunks]
    for chunk, (part, _) in zip(chunks, batches(samples, shares), strict=True):
        everyone = gather(encode(part.to(device)).float())
        if rank() == 0:
            parts.append(everyone[: len(chunk)].cpu())
        bar.update(len(chunk))
    bar.close()
    return torch.cat(parts[1:] or parts)


def embed_labeled(
    encode: Encoder, samples: SampleSet, rows: Int[Tensor, " rows"], *, device: torch.device
) -> EmbeddingTable:
    """Features of some rows of a labeled data set with their labels; see :func:`embed`."""
    assert samples.labels is not None
    features = embed(encode, samples, rows, device=device)
    return EmbeddingTable(embeddings=features, labels=samples.labels[rows][: len(features)])


def embed_split(
    encode: Encoder, split: ProbeSplit, *, device: torch.device
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Gallery and query of a split, see :func:`embed_labeled`."""
    gallery = embed_labeled(encode, split.gallery, split.gallery_rows, device=device)
    return gallery, embed_labeled(encode, split.query, split.query_rows, device=device)


def raw_baseline(spec: ImageSpec | SequenceSpec) -> tuple[str, Encoder]:
    """What nothing has learned and a representation has to beat: its name, and its features.

    Pixels of images, log-mel statistics of sequences with a rate, values of others.
    """
    if isinstance(spec, ImageSpec):
        return "raw_pixels", pixel_features
    rate = spec.sampling_rate
    if rate is None:
        return "raw_values", lambda sequences: as_floats(sequences).flatten(1)
    return "log_mel", lambda sequences: log_mel_statistics(sequences, rate)


def pixel_features(pixels: Pixels) -> Float[Tensor, "batch dim"]:
    """The image itself as a feature, at most 32 pixels a side."""
    images = as_floats(pixels)
    if images.shape[-1] > PIXEL_SIDE:
        images = F.adaptive_avg_pool2d(images, PIXEL_SIDE)
    return images.flatten(1)
