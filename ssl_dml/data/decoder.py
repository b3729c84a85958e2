"""The interface of decoders: what turns raw samples into arrays of one shape."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ssl_dml.types import ImageSpec, SequenceSpec


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
    def decode(self, sample: Any) -> Shaped[np.ndarray, "channels *extent"]:  # noqa: ANN401
        """Decode one sample of a source to an array of this shape and dtype.

        Raises:
            ValueError: If the sample is damaged or does not fit.
        """

    @abstractmethod
    def spec(self, *, mean: tuple[float, ...], std: tuple[float, ...]) -> ImageSpec | SequenceSpec:
        """Describe the decoded samples for a network, with their normalization."""
