"""From a data set and an encoder to embeddings with labels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_dml.augment import Normalize, unsquash
from ssl_dml.backbones import Backbone
from ssl_dml.backbones.log_mel import log_mel_statistics
from ssl_dml.data import SampleSet, make_loader
from ssl_dml.distributed import gather, rank, world_size
from ssl_dml.progress import progress
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import Images, ImageSpec, Pixels, SequenceSpec, Stored, as_floats

PIXEL_SIDE = 32
Encoder = Callable[[Stored], Float[Tensor, "batch dim"]]


@dataclass(frozen=True, kw_only=True)
class ProbeSplit:
    """Gallery and query of a probe: which labeled samples it trains on, and which it tests.

    Args:
        gallery: Data set of the gallery.
        gallery_rows: Rows of it that are in the gallery.
        query: Data set of the queries.
        query_rows: Rows of it that are queries.
        description: Both in words.
    """

    gallery: SampleSet
    gallery_rows: Int[Tensor, " rows"]
    query: SampleSet
    query_rows: Int[Tensor, " queries"]
    description: str


def probe_split(
    train: SampleSet, test: SampleSet | None, *, max_gallery: int | None = None
) -> ProbeSplit | str:
    """Choose gallery and query, or return why there is nothing to probe.

    Training samples are the gallery, and test samples of the same classes the queries. Without
    such test samples a tenth of the training samples are the queries: at most 10,000, and the
    same ones each time. All pieces of a recording are on one side.

    Args:
        train: Training samples.
        test: Test samples, if there are any.
        max_gallery: Most samples in the gallery; it is a random subset if there are more.

    >>> from ssl_dml.data import DataConfig, load_train
    >>> train = load_train(DataConfig(source="fashion_mini"))
    >>> probe_split(train, None, max_gallery=500).description
    '1,000 held-out training samples query 500 training samples'
    """
    labels = train.labels
    if labels is None:
        return "no probe: the samples have no labels (sub-folders, or a label column, give them)"
    known = (labels >= 0).nonzero()[:, 0]
    if len(labels[known].unique()) == 1:
        return "no probe: all samples are of one class"
    generator = torch.Generator().manual_seed(0)
    order = known[torch.randperm(len(known), generator=generator)]
    wanted = None if test is None else test.labels
    if test is not None and wanted is not None and torch.isin(wanted, labels).all():
        query, query_rows, gallery_rows = test, (wanted >= 0).nonzero()[:, 0], order
        words = f"{len(query_rows):,} test samples"
    else:
        held = max(1, min(len(known) // 10, 10_000))
        if train.recordings is not None:
            order, held = _whole_recordings(train.recordings[order], order, held)
            if len(labels[order[held:]].unique()) <= 1:
                return "no probe: too few recordings to hold some out"
        query, query_rows, gallery_rows = train, order[:held].sort().values, order[held:]
        words = f"{held:,} held-out training samples"
    gallery_rows = gallery_rows[:max_gallery].sort().values
    return ProbeSplit(
        gallery=train,
        gallery_rows=gallery_rows,
        query=query,
        query_rows=query_rows,
        description=f"{words} query {len(gallery_rows):,} training samples",
    )


def _whole_recordings(
    recordings: Int[Tensor, " known"], order: Int[Tensor, " known"], held: int
) -> tuple[Int[Tensor, " known"], int]:
    """Bring the pieces of a recording together, and hold out the last begun one's others too."""
    first = torch.full((int(recordings.max()) + 1,), len(order)).scatter_reduce(
        0, recordings, torch.arange(len(order)), "amin"
    )
    rank = first[recordings].sort(stable=True)
    return order[rank.indices], int((rank.values <= rank.values[held - 1]).sum())


def encoder(backbone: Backbone, device: torch.device) -> Encoder:
    """A function from stored samples to features: normalization, then the backbone."""
    normalize = Normalize(backbone.inputs).to(device)
    return lambda samples: backbone(normalize(samples))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradient; each part of the network then has its own mode again."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    with torch.no_grad():
        yield
    for module, training in modes:  # a frozen part may have been in evaluation mode
        module.training = training


@torch.no_grad()
def embed(
    encode: Encoder,
    samples: SampleSet,
    rows: Int[Tensor, " rows"],
    *,
    device: torch.device,
    batch_size: int = 256,
) -> Float[Tensor, "found dim"]:
    """Features of some samples of a data set, in float32 on the CPU of every process.

    Every process encodes its part of each batch.

    Args:
        encode: From stored samples on ``device`` to features.
        samples: The data set.
        rows: Indices of the samples to embed, in order.
        device: Where the encoder is; processes exchange tensors of this device.
        batch_size: Samples that a process encodes at once.

    >>> import tempfile, numpy
    >>> from ssl_dml.data import DataConfig, load_train
    >>> folder = tempfile.mkdtemp()
    >>> for name in range(9): numpy.save(f"{folder}/{name}.npy", numpy.zeros((28, 28), numpy.uint8))
    >>> train = load_train(DataConfig(source=folder))
    >>> rows, cpu = torch.tensor([7, 3]), torch.device("cpu")
    >>> embed(pixel_features, train, rows, device=cpu).shape  # images of 28 x 28 pixels
    torch.Size([2, 784])
    """
    features, filled = torch.empty(0, 1), 0
    for chunk in _encoded(encode, samples, rows, device=device, batch_size=batch_size):
        if filled == 0:
            features = torch.empty(len(rows), chunk.shape[1])
        features[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    return features


@torch.no_grad()
def embedded(
    encode: Encoder,
    samples: SampleSet,
    rows: Int[Tensor, " rows"],
    *,
    device: torch.device,
    batch_size: int = 256,
) -> Iterator[Float[Tensor, "some dim"]]:
    """Yield the features that :func:`embed` joins, as they are made, on the first process."""
    for chunk in _encoded(encode, samples, rows, device=device, batch_size=batch_size):
        if rank() == 0:
            yield chunk.cpu()


def _encoded(
    encode: Encoder,
    samples: SampleSet,
    rows: Int[Tensor, " rows"],
    *,
    device: torch.device,
    batch_size: int,
) -> Iterator[Float[Tensor, "some dim"]]:
    """Chunks of features on the device, of which every process encodes its part."""
    world, own = world_size(), slice(rank() * batch_size, (rank() + 1) * batch_size)
    bar = progress(len(rows), "embedding", "samples", delay=5.0)
    chunks = rows.split(world * batch_size)
    shares = chunks
    if world > 1:
        shares = [F.pad(chunk, (0, world * batch_size - len(chunk)))[own] for chunk in chunks]
    for chunk, (part, own_rows) in zip(chunks, make_loader(samples, shares), strict=True):
        seen = unsquash(part.to(device), samples.aspects_at(own_rows), samples.spec)
        yield gather(encode(seen).float())[: len(chunk)]
        bar.update(len(chunk))
    bar.close()


def embed_labeled(
    encode: Encoder, samples: SampleSet, rows: Int[Tensor, " rows"], *, device: torch.device
) -> EmbeddingTable:
    """Features and labels of some samples of a labeled data set; see :func:`embed`."""
    assert samples.labels is not None
    features = embed(encode, samples, rows, device=device)
    names = samples.names.at(rows.tolist())
    return EmbeddingTable(embeddings=features, labels=samples.labels[rows], names=names)


def embed_split(
    encode: Encoder, split: ProbeSplit, *, device: torch.device
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Features and labels of gallery and query; see :func:`embed`."""
    gallery = embed_labeled(encode, split.gallery, split.gallery_rows, device=device)
    return gallery, embed_labeled(encode, split.query, split.query_rows, device=device)


def raw_baseline(spec: ImageSpec | SequenceSpec) -> tuple[str, Encoder]:
    """An untrained baseline for a kind of samples: its name, and the function to its features.

    It is raw pixels for images, log-mel statistics for sequences with a sampling rate, and raw
    values for others.

    >>> raw_baseline(SequenceSpec(channels=1, length=400, mean=(0.0,), std=(1.0,)))[0]
    'raw_values'
    """
    if isinstance(spec, ImageSpec):
        return "raw_pixels", pixel_features
    sampling_rate = spec.sampling_rate
    if sampling_rate is None:
        return "raw_values", lambda sequences: as_floats(sequences).flatten(1)
    return "log_mel", lambda sequences: log_mel_statistics(sequences, sampling_rate)


def pixel_features(pixels: Pixels | Images) -> Float[Tensor, "batch dim"]:
    """Raw pixels from 0 to 1 as features; sides of more than 32 pixels are reduced to 32.

    >>> pixel_features(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8))
    tensor([[1., 1., 1., 1.]])
    """
    images = as_floats(pixels)
    if max(images.shape[2:]) > PIXEL_SIDE:
        height, width = (min(side, PIXEL_SIDE) for side in images.shape[2:])
        images = F.adaptive_avg_pool2d(images, (height, width))
    return images.flatten(1)
