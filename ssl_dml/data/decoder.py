"""The interface of decoders: what turns raw samples into arrays of one shape."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Shaped

from ssl_dml.types import Aspects, ImageSpec, SequenceSpec


class Decoded(NamedTuple):
    """A decoded sample.

    Attributes:
        values: The sample, of the decoder's shape and type.
        aspect: By what factor an image was wider, for its height, than it is now; 1 if its shape
            was kept.
    """

    values: Shaped[np.ndarray, "channels *extent"]
    aspect: float = 1.0


def aspects_of(found: list[float]) -> Aspects | None:
    """Aspects of samples as a tensor; None if all have kept their shape.

    >>> aspects_of([1.0, 1.0]), aspects_of([1.0, 2.0])
    (None, tensor([1., 2.]))
    """
    aspects = torch.tensor(found)
    return None if (aspects == 1).all() else aspects


@dataclass(frozen=True, kw_only=True)
class Decoder(ABC):
    """Shape and type that every sample of a data set is decoded to."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of a decoded sample, channels first."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype:
        """Type of its values."""

    @abstractmethod
    def decode(self, sample: Any) -> Decoded:  # noqa: ANN401
        """Decode one sample of a source to an array of this shape and dtype.

        Raises:
            ValueError: If the sample is damaged or does not fit.
        """

    @abstractmethod
    def spec(self, *, mean: tuple[float, ...], std: tuple[float, ...]) -> ImageSpec | SequenceSpec:
        """Describe the decoded samples for a network, with their normalization."""
