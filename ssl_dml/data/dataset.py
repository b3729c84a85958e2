"""Open the data set that the section ``data`` of a configuration describes."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, final

import psutil
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ssl_dml.config import ConfigError
from ssl_dml.data.budget import refuse_large
from ssl_dml.data.config import DataConfig, decoded_for
from ssl_dml.data.decode import ImageDecoder
from ssl_dml.data.decoder import Decoder, aspects_of
from ssl_dml.data.exclude import remaining
from ssl_dml.data.loader import Loader, end_with_the_run
from ssl_dml.data.on_demand import OnDemand
from ssl_dml.data.opening import locate, open_source
from ssl_dml.data.recordings import Lengths, Segments
from ssl_dml.data.remote import copied, is_remote
from ssl_dml.data.samplers import EpochBatches
from ssl_dml.data.sequences import open_sequences
from ssl_dml.data.sources import SampleNames, Source
from ssl_dml.data.split_names import printable
from ssl_dml.data.store import Store, build_store, has_store, nbytes
from ssl_dml.data.survey import Survey, normalization, survey
from ssl_dml.data.workers import choose_workers
from ssl_dml.distributed import broadcast_object, rank, world_size
from ssl_dml.progress import say
from ssl_dml.reading import reading
from ssl_dml.types import Aspects, ImageSpec, Indices, SequenceSpec, Stored

EMBEDDED_AT_ONCE = 256  # samples of a process, whatever the size of a batch


@final
class SampleSet(Dataset[tuple[Tensor, Tensor]]):
    """Decoded samples with stable indices 0..N-1; a tensor of indices gives a batch.

    Attributes:
        decoder: Shape and type that every sample was decoded to.
        spec: Channels, size or length, and normalization.
        names: Path or key of each sample.
        aspects: By what factor each image was wider, for its height, than it is decoded; None if
            all have kept their shape.
        recordings: Recording that each sample is a piece of; None for images.
        labels: Class of each sample, -1 if unknown; None without labels.
        class_names: Names of the classes; empty without labels.
        damaged: Name and reason of each sample that was left out.
        fingerprint: Changes when the samples or their order do.
        content: Digest of the decoded samples.
        digests: Eight bytes of the digest of each sample, equal for equal ones.
        notes: What was decided or left out on opening, a short sentence each.
        labeled_by: Where the labels are from, in words; empty without labels.
        found: What the undecoded samples are; None if they were not looked at.
        workers: Processes that decode them on demand; 0 if they are decoded.
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        decoder: Decoder,
        spec: ImageSpec | SequenceSpec,
        found: Survey | Lengths | None = None,
        *,
        workers: int = 0,
    ) -> None:
        self.samples, self.damaged = store.samples, store.damaged
        self.decoder, self.spec, self.found, self.workers = decoder, spec, found, workers
        self.labeled_by, self.names = source.labeled_by, SampleNames(source, store.kept)
        self.class_names, self.fingerprint = source.class_names, source.fingerprint
        self.content, self.notes, self.recordings = store.content, source.notes, None
        self.digests = store.digests
        if isinstance(source, Segments):
            self.recordings = torch.tensor([source.pieces[int(i)][0] for i in store.kept])
        self.aspects = aspects_of(store.aspects)
        labels = source.labels
        self.labels = None if labels is None else torch.tensor([labels[i] for i in store.kept])
        if self.labels is not None and self.labels.max() < 0:
            self.labels = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, indices: Int[Tensor, " batch"]) -> tuple[Stored, Indices]:
        return torch.from_numpy(self.samples[indices.numpy()]), indices

    def columns_at(self, indices: Int[Tensor, " batch"]) -> dict[str, list[Any]]:
        """Further columns of the table that samples are from, at some of them."""
        rows = [self.names.rows[index] for index in indices.tolist()]
        return {name: one.take(rows).to_pylist() for name, one in self.names.source.further.items()}

    def aspects_at(self, indices: Int[Tensor, " batch"]) -> Aspects | None:
        """Aspects of some samples; None if all of the data set have kept their shape."""
        return None if self.aspects is None else self.aspects[indices]


def load_train(config: DataConfig) -> SampleSet:
    """Load the samples to train on.

    >>> config = DataConfig(source="fashion_mini")
    >>> train = load_train(config)
    >>> len(train), train.spec.size, train.class_names[:2]
    (10000, 28, ['T-shirt/top', 'Trouser'])
    >>> pixels, indices = train[torch.tensor([3, 5])]
    >>> pixels.shape, pixels.dtype
    (torch.Size([2, 1, 28, 28]), torch.uint8)
    >>> train.names[3]
    'fashion_mini, row 3'
    >>> len(load_test(config, train))
    2000

    Raises:
        ConfigError: If the source is missing, empty or damaged; the message names it.
    """
    for name in ("source", "test_source"):
        if getattr(config, name) == "":  # which would be the current folder
            raise ConfigError(f"data.{name} is empty; name a folder, or . for the current one")
    opened = _open(config, config.source, "train")
    if opened is None:
        raise ConfigError(f"data.source {config.source!r} has no split named train")
    source, decoder = opened
    found = Lengths(source.recordings.lengths) if isinstance(source, Segments) else None
    if decoder is None:
        found = survey(
            source,
            channels=config.channels,
            image_size=config.image_size,
            value_range=config.value_range,
            test_view=config.test_view,
        )
        decoder = found.decoder
    store = _store(source, decoder, config, config.source)
    workers = 0
    if isinstance(store.samples, OnDemand):
        workers, why = _workers(decoder, config)
        say(f"samples are decoded on demand, by {workers} workers a process: {why}")
    mean, std = normalization(store, decoder.shape[0])
    try:
        spec = decoder.spec(mean=config.mean or mean, std=config.std or std)
    except ValueError as error:  # one value a channel, which are known only now
        raise ConfigError(f"data.mean, data.std: {error}") from error
    if isinstance(found, Survey) and isinstance(spec, ImageSpec):
        spec = replace(spec, test_view=found.test_view)
    return SampleSet(source, store, decoder, spec, found, workers=workers)


def load_test(config: DataConfig, train: SampleSet) -> SampleSet | None:
    """Load the samples to test on, decoded like the training samples; None if there are none.

    Classes are matched with those of the training samples by name.
    """
    config = decoded_for(config, train.spec)
    if config.test_source is not None:
        opened = _open(config, config.test_source, "test") or _open(
            config, config.test_source, "train"
        )
    else:
        opened = _open(config, config.source, "test")
    if opened is None:
        return None
    source = opened[0]
    if source.labels is not None:
        names = [*train.class_names, *sorted({*source.class_names} - {*train.class_names})]
        ids = {name: i for i, name in enumerate(names)}
        theirs = [ids[name] for name in source.class_names]
        source.labels = [theirs[label] if label >= 0 else -1 for label in source.labels]
        source.class_names = names
    store = _store(source, train.decoder, config, config.test_source or config.source)
    workers = _workers(train.decoder, config)[0] if isinstance(store.samples, OnDemand) else 0
    return SampleSet(source, store, train.decoder, train.spec, workers=workers)


def epochs(samples: SampleSet, config: DataConfig, *, seed: int) -> EpochBatches:
    """The order of batches of this process: shuffled epochs without end.

    Raises:
        ConfigError: If there are fewer samples than a batch, or it cannot be shared evenly.
    """
    if len(samples) >= config.batch_size:
        sizes = {"samples": config.batch_size, "processes": world_size()}
        refuse_large(samples.decoder, key="data.batch_size", **sizes)
    return EpochBatches(
        len(samples), config.batch_size, seed=seed, rank=rank(), world_size=world_size()
    )


def make_loader(
    samples: SampleSet,
    order: Iterable[Tensor],
    *,
    workers: int | None = None,
    device: torch.device | None = None,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """(samples, indices) for each tensor of indices, decoded by workers if nothing is kept.

    Args:
        samples: What to cut batches from.
        order: Indices of each batch, such as :func:`epochs` gives.
        workers: Processes that decode; None for as many as the data set was loaded with.
        device: Where the batches go next; memory is pinned for a GPU of CUDA.
    """
    return Loader(
        samples,
        sampler=order,
        batch_size=None,
        num_workers=(workers or samples.workers) if isinstance(samples.samples, OnDemand) else 0,
        pin_memory=device is not None and device.type == "cuda",
        worker_init_fn=end_with_the_run,
        generator=torch.Generator(),  # so that starting workers draws nothing from training's
    )


def _workers(decoder: Decoder, config: DataConfig) -> tuple[int, str]:
    """Workers of a loader, and why so many; their batches fit in shared memory."""
    rows = max(EMBEDDED_AT_ONCE, config.batch_size // world_size())
    return choose_workers(config.workers, rows * nbytes(decoder))


def _open(config: DataConfig, where: str, split: str) -> tuple[Source, Decoder | None] | None:
    """Open a source; its decoder is known already for sequences, not for images."""
    with reading(f"data.source {printable(where)!r}", "replace it, or name another"):
        return _opened(config, where, split)


def _opened(config: DataConfig, where: str, split: str) -> tuple[Source, Decoder | None] | None:
    if is_remote(where):
        where = str(copied(where, config.cache_dir.expanduser()))
    if config.sequences is None:
        source = open_source(
            where,
            split,
            image_column=config.image_column,
            label_column=config.label_column,
            missing_labels=config.missing_labels,
            use_splits=config.use_splits,
            skip_damaged=config.on_error == "skip",
            max_pixels=config.max_pixels,
            cache_dir=config.cache_dir.expanduser(),
        )
        opened = None if source is None else (source, None)
    else:
        opened = open_sequences(
            where,
            split,
            config=config.sequences,
            channels=config.channels,
            label_column=config.label_column,
            missing_labels=config.missing_labels,
            use_splits=config.use_splits,
            skip_damaged=config.on_error == "skip",
            cache_dir=config.cache_dir.expanduser(),
        )
    if opened is not None and not config.use_labels:
        opened[0].labels, opened[0].class_names = None, []
    return opened


def _store(source: Source, decoder: Decoder, config: DataConfig, where: str) -> Store:
    keys = "data.image_size" if isinstance(decoder, ImageDecoder) else "data.sequences.length"
    refuse_large(decoder, samples=1, key=f"{keys} or data.channels")
    size = len(source) * nbytes(decoder)
    local_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cache = config.cache_dir.expanduser()
    nearest = next(path for path in (cache, *cache.parents) if path.exists())
    stored = has_store(source, decoder, cache)
    # Several processes of a machine share one mapped file instead of one copy each.
    in_memory = (
        not stored
        and size <= config.memory_fraction * psutil.virtual_memory().available
        and local_processes == 1
    )
    room = size <= config.disk_fraction * shutil.disk_usage(nearest).free
    on_disk = not in_memory and (stored or room)
    # Free space may change while other processes look.
    in_memory, on_disk = broadcast_object((in_memory, on_disk))
    store = build_store(
        source,
        decoder,
        in_memory=in_memory,
        on_disk=on_disk,
        cache_dir=cache,
        skip_damaged=config.on_error == "skip",
        builder=os.environ.get("LOCAL_RANK", "0") == "0",
    )
    if config.exclude is None:
        return store
    return store.only(remaining(source, store.kept, locate(where), config.exclude))
