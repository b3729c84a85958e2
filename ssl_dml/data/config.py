"""The section ``data`` of a configuration, and what a network or its weights add to it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ssl_dml.checks import at_least, finite, in_range, positive, sizes
from ssl_dml.config import ConfigError
from ssl_dml.data.images import MAX_PIXELS
from ssl_dml.data.sequences import SequenceConfig
from ssl_dml.progress import say
from ssl_dml.types import ImageSpec, SequenceSpec, TestView, sides_of

MOST_WORKERS = 1024


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images or sequences to load, and how to decode and batch them.

    >>> DataConfig(source="fashion_mini", batch_size=0)
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: data.batch_size must be at least 1, got 0

    Args:
        source: An embedded sample (fashion_mini, hangul), a folder of images, parquet files,
            a folder saved by ``datasets``, a data set on the hub, or an address. For sequences: a
            folder of audio (wav, flac), an ``.npz`` file with ``x`` and perhaps ``y``, or such
            tables.
        sequences: How audio and other sequences are cut; None for images.
        test_source: Samples to test on; None for the test split of ``source``.
        batch_size: Samples in a batch over all processes together.
        image_size: Side in pixels to decode images to, or height and width, such as [128, 64].
            None takes the median shorter side, up to 256 with an accelerator and 96 without.
        test_view: What a network sees at test time of an image of another shape: its center, all
            of it squashed, or all of it with borders (pad). Training always draws views from the
            whole image. None takes the center, or squashes if most would be outside.
        channels: Number of channels; 1 or 3 converts images. None takes what most of up to 2,000
            images have, and color if any of gray and color images has it. In audio, 1 and None
            average the channels of a file.
        value_range: Values that become black and white in images of more than 8 bits; None
            measures them.
        mean: Mean of each channel, where 1 is white, or full scale in audio; None measures it.
        std: Standard deviation of each channel, on the same scale; None measures it.
        on_error: What to do with a damaged sample: stop before training, or skip and count it.
        exclude: Text file of samples to leave out, a name or path a line, such as ``ssl_dml audit
            --drop`` writes.
        image_column: Column of images in a table.
        label_column: Column of labels in a table; without it there are no labels.
        missing_labels: Whether null, NaN, empty text and -1 mean that a sample has no label; false
            if they are classes.
        use_labels: Whether to use labels; false if sub-folders are not classes.
        use_splits: Whether names such as train, val and test, of sub-folders or files or in a
            column called split, tell the splits; false if sub-folders with such names are classes.
        max_pixels: An image of more pixels is damaged.
        cache_dir: Folder for decoded samples that do not fit in memory or took long to decode, and
            for what was found below folders of many files.
        memory_fraction: Fraction of the free memory that decoded samples may fill.
        disk_fraction: Fraction of the free disk they may fill; above it, workers decode on demand.
        workers: Number of processes that decode on demand, beside each process of the run. None
            starts one on each core, and fewer where their batches would not fit in shared memory.
    """

    source: str
    sequences: SequenceConfig | None = None
    test_source: str | None = None
    batch_size: int = 256
    image_size: int | tuple[int, int] | None = None
    test_view: TestView | None = None
    channels: int | None = None
    value_range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    on_error: Literal["stop", "skip"] = "stop"
    exclude: Path | None = None
    image_column: str = "image"
    label_column: str = "label"
    missing_labels: bool = True
    use_labels: bool = True
    use_splits: bool = True
    max_pixels: int = MAX_PIXELS
    cache_dir: Path = Path("~/.cache/ssl_dml")
    memory_fraction: float = 0.25
    disk_fraction: float = 0.5
    workers: int | None = None

    def __post_init__(self) -> None:
        at_least(1, "data", batch_size=self.batch_size, workers=self.workers)
        at_least(1, "data", channels=self.channels, max_pixels=self.max_pixels)
        in_range(1, MOST_WORKERS, "data", workers=self.workers)
        sizes("data", image_size=self.image_size)
        fractions = {"memory_fraction": self.memory_fraction, "disk_fraction": self.disk_fraction}
        in_range(0, 1, "data", **fractions)
        finite("data", value_range=self.value_range, mean=self.mean)
        for std in () if self.std is None else self.std:
            positive("data", std=std)
        for name in ("mean", "std"):
            if getattr(self, name) == ():
                raise ConfigError(f"data.{name} must have a value for each channel, got none")
        if self.value_range is not None and self.value_range[0] >= self.value_range[1]:
            raise ConfigError(f"data.value_range must rise, got {self.value_range}")
        if self.sequences is not None:
            self._check_sequences(self.sequences)

    def _check_sequences(self, sequences: SequenceConfig) -> None:
        for name in ("image_size", "test_view", "value_range"):
            if getattr(self, name) is not None:
                raise ConfigError(f"data.{name} is for images; leave it out with data.sequences")
        positive("data.sequences", trim=sequences.trim)
        # Not checked in SequenceConfig: the parser would report a wrong type instead.
        given = {"sampling_rate": sequences.sampling_rate, "length": sequences.length}
        at_least(1, "data.sequences", **given)


def decoded_for(config: DataConfig, spec: ImageSpec | SequenceSpec | None) -> DataConfig:
    """Return the configuration with the size and channels that a network was built for.

    >>> decoded_for(DataConfig(source="fashion_mini"), ImageSpec.imagenet(64)).image_size
    64

    Args:
        config: The data; what it says of size, channels, mean and std must be the network's.
        spec: The samples of the network; None leaves the data as they are.

    Raises:
        ConfigError: If they say something else, or one is of images and one of sequences.
    """
    if spec is None:
        return config
    for name in ("channels", "image_size", "mean", "std"):
        given, theirs = getattr(config, name), getattr(spec, name.removeprefix("image_"), None)
        same = name == "image_size" and given and theirs and sides_of(given) == sides_of(theirs)
        if not same and given not in (None, theirs):
            raise ConfigError(
                f"data.{name} is {given}, and the backbone is for {theirs}; leave it out"
            )
    if isinstance(spec, ImageSpec) and config.sequences is None:
        view = config.test_view or spec.test_view
        return replace(config, channels=spec.channels, image_size=spec.size, test_view=view)
    if isinstance(spec, SequenceSpec) and config.sequences is not None:
        sequences = replace(config.sequences, length=spec.length, sampling_rate=spec.sampling_rate)
        return replace(config, channels=spec.channels, sequences=sequences)
    theirs, given = ("sequences", "null") if config.sequences is None else ("images", "set")
    raise ConfigError(f"the backbone is for {theirs}, and data.sequences is {given}")


def as_published(config: DataConfig, preset: ImageSpec | None) -> DataConfig:
    """Return the configuration with what published weights were trained on, where it is silent.

    >>> given = DataConfig(source="x", image_size=64, channels=3)
    >>> as_published(given, ImageSpec.imagenet(224)).mean
    from the weights: data.mean (0.485, 0.456, 0.406), data.std (0.229, 0.224, 0.225)
    (0.485, 0.456, 0.406)

    Args:
        config: The data; what it says of size, channels, mean and std stays.
        preset: Samples of the weights; None leaves the data as they are.
    """
    if preset is None or config.sequences is not None:
        return config
    channels = config.channels or preset.channels
    own = {"channels": channels, "image_size": config.image_size or preset.size}
    if channels == preset.channels:
        own |= {"mean": config.mean or preset.mean, "std": config.std or preset.std}
    said = ", ".join(f"data.{k} {v}" for k, v in own.items() if getattr(config, k) != v)
    if said:
        say(f"from the weights: {said}")
    return replace(config, **own)
