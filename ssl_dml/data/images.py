"""A section of configuration becomes a data set of pictures that batches are cut from."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, final

import psutil
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ssl_dml.config import ConfigError
from ssl_dml.data.decode import Format
from ssl_dml.data.samplers import EpochBatches
from ssl_dml.data.sources import Source, open_source
from ssl_dml.data.store import OnDemand, Store, build_store, has_store
from ssl_dml.data.survey import normalisation, survey
from ssl_dml.distributed import rank, share, world_size
from ssl_dml.types import ImageSpec, Indices, Pixels


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which pictures, and how they are decoded and batched.

    Args:
        source: An embedded sample (fashion_mini, hangul), a folder of pictures, parquet files,
            a folder saved by ``datasets``, or a data set on the hub.
        test_source: Pictures the probe asks about; None for the test split of ``source``.
        batch_size: Pictures in a batch over all processes together.
        image_size: Side in pixels that pictures are decoded to; None keeps that of the data up to
            256, takes 224 above, and 64 where pictures differ in size.
        channels: 1 or 3 to convert; None for the most that any of up to 2,000 pictures, spread
            over the set, has.
        value_range: Values that become black and white in pictures of more than 8 bits; None
            measures them.
        mean: Mean of each channel, where 255 is 1; None measures it.
        std: Standard deviation of each channel; None measures it.
        on_error: What a damaged picture does: stop before training, or be skipped and counted.
        image_column: Column of pictures in a table.
        label_column: Column of labels in a table; one that is not there means no labels.
        labelled: Whether to look at labels at all; false where sub-folders are not classes.
        cache_dir: Where decoded pictures are kept that do not fit in memory.
        memory_fraction: Part of this machine's free memory that decoded pictures may fill.
        disk_fraction: Part of the free disk they may fill; beyond it workers decode each time.
        workers: Processes that decode when nothing is kept.
    """

    source: str
    test_source: str | None = None
    batch_size: int = 256
    image_size: int | None = None
    channels: int | None = None
    value_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    on_error: Literal["stop", "skip"] = "stop"
    image_column: str = "image"
    label_column: str = "label"
    labelled: bool = True
    cache_dir: Path = Path("~/.cache/ssl_dml")
    memory_fraction: float = 0.25
    disk_fraction: float = 0.5
    workers: int = 2

    def __post_init__(self) -> None:
        for name in ("batch_size", "image_size", "channels", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"data.{name} must be at least 1, got {value}")
        for name in ("memory_fraction", "disk_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"data.{name} must be from 0 to 1, got {getattr(self, name)}")
        if self.value_range is not None and self.value_range[0] >= self.value_range[1]:
            raise ConfigError(f"data.value_range must rise, got {self.value_range}")


@final
class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """Decoded pictures with stable indices 0..N-1, cut in batches.

    Attributes:
        form: What every picture was decoded to.
        spec: Channels, size and normalisation.
        labels: Class of each picture, -1 where it is not known; None without labels.
        class_names: Names of the classes; empty without labels.
        damaged: Name and reason of each picture that was left out.
        fingerprint: Changes when the pictures or their order do.
    """

    def __init__(self, source: Source, store: Store, form: Format, spec: ImageSpec) -> None:
        self.pixels, self.damaged, self.form, self.spec = store.pixels, store.damaged, form, spec
        self.class_names, self.fingerprint = source.class_names, source.fingerprint
        labels = source.labels
        self.labels = None if labels is None else torch.tensor([labels[i] for i in store.kept])
        if self.labels is not None and self.labels.max() < 0:
            self.labels = None

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, indices: Int[Tensor, " batch"]) -> tuple[Pixels, Indices]:
        return torch.from_numpy(self.pixels[indices.numpy()]), indices


def load_images(config: DataConfig) -> ImageSet:
    """The pictures to train on.

    Raises:
        ConfigError: If the source is missing, empty or damaged, naming key and path.
    """
    source = _open(config, config.source, "train")
    if source is None:
        raise ConfigError(f"data.source {config.source!r} has no split named train")
    form = survey(
        source,
        channels=config.channels,
        image_size=config.image_size,
        value_range=config.value_range,
    )
    store = _store(source, form, config)
    mean, std = normalisation(store, form.channels)
    spec = ImageSpec(
        channels=form.channels,
        size=form.size,
        mean=config.mean or mean,
        std=config.std or std,
    )
    return ImageSet(source, store, form, spec)


def load_test_images(config: DataConfig, train: ImageSet) -> ImageSet | None:
    """The pictures the probe asks about, decoded as those of training; None if there are none.

    Labels are those of the training set, matched by the name of the class.
    """
    if config.test_source is not None:
        source = _open(config, config.test_source, "test") or _open(
            config, config.test_source, "train"
        )
    else:
        source = _open(config, config.source, "test")
    if source is None:
        return None
    if source.labels is not None:
        names = [*train.class_names, *sorted({*source.class_names} - {*train.class_names})]
        ids = {name: i for i, name in enumerate(names)}
        theirs = [ids[name] for name in source.class_names]
        source.labels = [theirs[label] if label >= 0 else -1 for label in source.labels]
        source.class_names = names
    return ImageSet(source, _store(source, train.form, config), train.form, train.spec)


def make_loader(
    images: ImageSet, config: DataConfig, *, seed: int, start: int = 0, pin_memory: bool = False
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Endless batches of (pixels, indices) for this process.

    Args:
        images: What to cut them from.
        config: Batch size and workers.
        seed: Number the order depends on.
        start: Batches already visited.
        pin_memory: Whether a copy to an accelerator follows.
    """
    order = EpochBatches(
        len(images),
        config.batch_size,
        seed=seed,
        start=start,
        rank=rank(),
        world_size=world_size(),
    )
    return batches(images, order, workers=config.workers, pin_memory=pin_memory)


def batches(
    images: ImageSet, order: Iterable[Tensor], *, workers: int = 2, pin_memory: bool = False
) -> DataLoader[tuple[Tensor, Tensor]]:
    """(pixels, indices) for each tensor of indices, decoded by workers if nothing is kept."""
    return DataLoader(
        images,
        sampler=order,
        batch_size=None,
        num_workers=workers if isinstance(images.pixels, OnDemand) else 0,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # so that starting workers draws nothing from training's
    )


def check_batch(config: DataConfig, num_images: int) -> int:
    """Batches in an epoch, if every process can have its part.

    Raises:
        ConfigError: If there are fewer pictures than a batch, or it cannot be shared evenly.
    """
    return EpochBatches(
        num_images, config.batch_size, seed=0, rank=rank(), world_size=world_size()
    ).per_epoch


def describe(images: ImageSet, test: ImageSet | None, source: str) -> dict[str, Any]:
    """Plain facts of a data set, for people and for what is saved."""
    return {
        "source": source,
        "pictures": len(images),
        **asdict(images.spec),
        "fingerprint": images.fingerprint,
        "damaged": images.damaged,
        "test_pictures": 0 if test is None else len(test),
        "test_damaged": [] if test is None else test.damaged,
    }


def _open(config: DataConfig, where: str, split: str) -> Source | None:
    source = open_source(
        where, split, image_column=config.image_column, label_column=config.label_column
    )
    if source is not None and not config.labelled:
        source.labels, source.class_names = None, []
    return source


def _store(source: Source, form: Format, config: DataConfig) -> Store:
    size = len(source) * form.channels * form.size**2
    local_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cache = config.cache_dir.expanduser()
    nearest = next(path for path in (cache, *cache.parents) if path.exists())
    # Several processes of a machine share one mapped file instead of a copy each.
    in_memory = (
        size <= config.memory_fraction * psutil.virtual_memory().available and local_processes == 1
    )
    on_disk = not in_memory and (
        has_store(source, form, cache)
        or size <= config.disk_fraction * shutil.disk_usage(nearest).free
    )
    in_memory, on_disk = share((in_memory, on_disk))  # free space moves while others look
    return build_store(
        source,
        form,
        in_memory=in_memory,
        on_disk=on_disk,
        cache_dir=cache,
        skip_damaged=config.on_error == "skip",
        builder=os.environ.get("LOCAL_RANK", "0") == "0",
    )
