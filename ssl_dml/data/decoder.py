"""The contract between what a source holds and what a store keeps."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ssl_dml.types import ImageSpec, SequenceSpec


@dataclass(frozen=True, kw_only=True)
class Decoder(ABC):
    """What every sample of a data set is decoded to."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of a decoded sample, channels first."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype:
        """Kind of its numbers."""

    @abstractmethod
    def decode(self, sample: Any) -> Shaped[np.ndarray, "channels *extent"]:  # noqa: ANN401
        """One sample of a source as an array of this shape and dtype.

        Raises:
            ValueError: If it cannot become one.
        """

    @abstractmethod
    def spec(self, *, mean: tuple[float, ...], std: tuple[float, ...]) -> ImageSpec | SequenceSpec:
        """What a network is told of samples with this mean and standard deviation."""
