"""Words that every part of the toolkit shares."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

Images = Float[Tensor, "batch channels height width"]
Pixels = UInt8[Tensor, "batch channels height width"]
Samples = Float[Tensor, "batch channels *extent"]
Stored = Shaped[Tensor, "batch channels *extent"]
Views = Sequence[Float[Tensor, "batch channels ..."]]
Embeddings = Float[Tensor, "batch dim"]
Indices = Int[Tensor, " batch"]
Labels = Int[Tensor, " batch"]
ContinuousLabels = Float[Tensor, "batch values"]
Aspects = Float[Tensor, " batch"]
TestView = Literal["center", "squash", "pad"]
FULL_SCALE = {torch.uint8: 255.0, torch.int16: 32768.0}


class StepOutput(NamedTuple):
    """What a method or a head returns for one training step.

    Several processes share a batch, each with its own rows. The convention: **each process returns
    a loss whose mean over processes is the loss of the whole batch.** The gradient is right then
    too, since ``DistributedDataParallel`` takes the mean of the gradients. There are three cases:

    - A mean over rows: each process returns the mean over its own rows.
    - A loss that compares all rows: each process gathers the rows of all processes with gradient
      and returns the loss of the whole batch, the same on each.
    - A sum over rows: each of W processes returns W times the sum over its own rows.

    For example, two processes have two rows each, with losses of 1, 3 and 5, 7. The mean is 4, and
    they return 2 and 6. The sum is 16, and they return 2 · 4 = 8 and 2 · 12 = 24.

    Attributes:
        loss: Scalar to minimize.
        logs: Detached scalars to log, by name. The log has their mean over processes too.
    """

    loss: Float[Tensor, ""]
    logs: Mapping[str, Float[Tensor, ""]]


class Batch(NamedTuple):
    """What a method or a fine-tuner is given in one step, on its device.

    Attributes:
        views: Normalized views; ``views[v][i]`` shows sample ``indices[i]``.
        indices: Which samples of the data set these are, distinct over all processes.
        labels: Class of each sample, -1 where it is unknown, or its continuous label; None where
            the data have no labels.
    """

    views: Views
    indices: Indices
    labels: Labels | ContinuousLabels | None = None


class LabeledEmbeddings(NamedTuple):
    """Embeddings that a batch is compared with besides itself, such as those of earlier batches.

    Attributes:
        embeddings: One row a sample.
        labels: Class of each row.
    """

    embeddings: Float[Tensor, "rows dim"]
    labels: Int[Tensor, " rows"]


class Triplets(NamedTuple):
    """Triplets as ranges of ranks: each (anchor, positive) pair has a range of the negatives.

    The references of a batch are its own rows and then those of a memory. ``order[a]`` lists the
    negatives of anchor ``a`` from near to far, and a pair's triplets are a range of that list::

        rank             0    1    2    3    4
        order[a]         n7   n2   n9   n4   n5   p3   a        positives come last, if at all
        pair (a, p3)          [---------)                       low 1, high 3: n2 and n9
        pair (a, p8)     [-----------------------)              low 0, high 5: all five

    The negatives of pair i are ``order[anchors[i], k]`` with ``low[i] <= k < high[i]``. So all
    triplets of a batch, as many as its cube, take the memory of its pairs.

    Attributes:
        order: References of each anchor. Entries beyond the last range may be anything.
        anchors: Anchor of each pair, ascending.
        positives: Reference of the pair's positive.
        low: First rank of each pair's range.
        high: End of the range, exclusive; not below ``low``.
    """

    order: Int[Tensor, "batch ranks"]
    anchors: Int[Tensor, " pairs"]
    positives: Int[Tensor, " pairs"]
    low: Int[Tensor, " pairs"]
    high: Int[Tensor, " pairs"]


class ProcessGroup(ABC):
    """The processes that share a batch, as a loss sees them; each has equally many rows.

    Attributes:
        rank: Number of this process, from 0.
        count: Number of processes.
    """

    rank: int
    count: int

    @abstractmethod
    def ring_shift(self, *blocks: Tensor) -> tuple[Tensor, ...]:
        """Hand tensors to the next process and take those of the one before, without gradient.

        After ``count`` rotations every process has seen all and holds its own again.
        """

    @abstractmethod
    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all processes in order of rank, without gradient."""

    @abstractmethod
    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Sum over processes, through which gradient flows."""


@final
class SingleProcess(ProcessGroup):
    """One process: every exchange is with itself."""

    rank, count = 0, 1

    def ring_shift(self, *blocks: Tensor) -> tuple[Tensor, ...]:
        """The tensors as they are."""
        return blocks

    def gather(self, rows: Tensor) -> Tensor:
        """The rows without gradient."""
        return rows.detach()

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """The values as they are."""
        return values


SINGLE_PROCESS = SingleProcess()


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """Channels, size and normalization of decoded images.

    >>> ImageSpec(channels=1, size=28, mean=(0.29,), std=(0.35,)).sides
    (28, 28)

    Args:
        channels: Number of channels, 1 for gray and 3 for color.
        size: Side in pixels of square images, or height and width.
        mean: Mean of each channel on the scale where 255 is 1.
        std: Standard deviation of each channel on the same scale, above 0.
        test_view: What a network sees at test time of an image of another shape: the center, the
            whole image squashed, or the whole image between borders of the mean color.
    """

    channels: int
    size: int | tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    test_view: TestView = "center"

    def __post_init__(self) -> None:
        _check_normalization(self.channels, self.mean, self.std)
        if not isinstance(self.size, int):
            height, width = self.size
            object.__setattr__(self, "size", height if height == width else (height, width))

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return sides_of(self.size)

    @classmethod
    def imagenet(cls, size: int | tuple[int, int] = 224) -> "ImageSpec":
        """RGB images with the mean and standard deviation of ImageNet.

        >>> ImageSpec.imagenet().mean
        (0.485, 0.456, 0.406)
        """
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        return cls(channels=3, size=size, mean=mean, std=std)


@dataclass(frozen=True, kw_only=True)
class SequenceSpec:
    """Channels, length and normalization of decoded sequences: audio, or other series.

    >>> audio = SequenceSpec(channels=1, length=400, mean=(0.0,), std=(0.1,), sampling_rate=16_000)
    >>> audio.length
    400

    Args:
        channels: Number of channels.
        length: Values in a sequence, over time.
        mean: Mean of each channel; of audio on the scale where 1 is the loudest.
        std: Standard deviation of each channel on the same scale, above 0.
        sampling_rate: Values a second; None where time has no unit.
    """

    channels: int
    length: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sampling_rate: int | None = None

    def __post_init__(self) -> None:
        _check_normalization(self.channels, self.mean, self.std)


def sides_of(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width of a size.

    >>> sides_of(64), sides_of((128, 64))
    ((64, 64), (128, 64))
    """
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def _check_normalization(channels: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    if len(mean) != channels or len(std) != channels:
        raise ValueError(
            f"mean and std need one value for each of {channels} channels, "
            f"got {len(mean)} and {len(std)}"
        )
    if not all(map(math.isfinite, mean)):
        raise ValueError(f"mean must be finite in every channel, got {mean}")
    if not all(0 < value < math.inf for value in std):
        raise ValueError(f"std must be positive in every channel, got {std}")


def as_floats(samples: Stored) -> Samples:
    """Bytes over 255, 16-bit integers over 32,768; floats as they are."""
    if samples.is_floating_point():
        return samples
    return samples.float() / FULL_SCALE[samples.dtype]


class ConfigError(ValueError):
    """A key, a value or a file of the configuration that cannot be used."""


def one_line(error: Exception, *, words: int = 30) -> str:
    r"""What another library's exception says, in so many words; its type if it says nothing.

    >>> one_line(RuntimeError("size mismatch:\n  3 and 4"))
    'size mismatch: 3 and 4'
    >>> one_line(AssertionError())
    'AssertionError'
    """
    return " ".join(str(error).split()[:words]) or type(error).__name__


def shown(value: object, *, most: int = 80) -> str:
    """A value in a message, of which a long one is cut.

    >>> shown("a"), shown("x" * 5000, most=8)
    ("'a'", "'xxxxxxx... (5,002 characters)")
    """
    try:
        text = repr(value)
    except ValueError as error:  # an integer of thousands of digits
        text = str(error)
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"
