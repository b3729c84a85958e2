"""Decode a sample that may be damaged, once or in the workers for each batch."""

import errno
from typing import final

import numpy as np
from jaxtyping import Shaped

from ssl_dml.config import ConfigError
from ssl_dml.data import budget
from ssl_dml.data.decoder import Decoded, Decoder
from ssl_dml.data.sources import Source
from ssl_dml.data.split_names import printable
from ssl_dml.progress import say

SYSTEM_ERRORS = (errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM)  # no damaged sample
REMEDY = "; remove it, or leave damaged samples out with --data.on_error skip"
MAX_TRIES = 100  # samples to take in place of one that is gone
Array = Shaped[np.ndarray, "batch channels *extent"]


@final
class DamagedError(ConfigError, FileNotFoundError):
    """A sample that could be decoded before training and no longer can.

    Args:
        message: What to tell the user. The loader of a worker process gives its whole traceback,
            of which the last line is the message.
    """

    def __init__(self, message: str) -> None:
        last = message.strip().splitlines()[-1]
        super().__init__(last.partition("DamagedError: ")[2] or last)


@final
class OnDemand:
    """Samples that are decoded again for each batch, in the workers of the loader.

    Args:
        source: The undecoded samples.
        decoder: Decodes a sample.
        kept: Positions in the source of the samples that can be decoded.
        skip_damaged: In place of a sample that no longer can be, take the next one of its class
            instead of raising.
    """

    def __init__(
        self, source: Source, decoder: Decoder, kept: list[int], *, skip_damaged: bool = False
    ) -> None:
        self.source, self.decoder, self.kept = source, decoder, np.asarray(kept)
        self.skip_damaged, self._told = skip_damaged, set[int]()

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, indices: np.ndarray) -> Array:
        return np.stack([self._sample(int(row)) for row in indices])

    def _sample(self, row: int) -> Shaped[np.ndarray, "channels *extent"]:
        """Decode a sample.

        Raises:
            DamagedError: If it cannot be decoded, and damage stops or no other one takes its place.
        """
        sample = attempt(self.source, int(self.kept[row]), self.decoder)
        if isinstance(sample, Decoded):
            return sample.values
        for other in self._others(row) if self.skip_damaged else ():
            instead = attempt(self.source, other, self.decoder)
            if isinstance(instead, Decoded):
                if row not in self._told:
                    self._told.add(row)
                    say(f"damaged sample {sample}; {self.source.name(other)} is taken in its place")
                return instead.values
        raise DamagedError(f"damaged sample {sample}{REMEDY}")

    def _others(self, row: int) -> list[int]:
        """Positions in the source of the next samples of the same class."""
        others, labels = np.roll(self.kept, -row - 1)[:-1], self.source.labels
        if labels is not None:
            others = others[np.asarray(labels)[others] == labels[self.kept[row]]]
        return others[:MAX_TRIES].tolist()


def _read(source: Source, index: int, decoder: Decoder) -> Decoded:
    with budget.sample():
        sample = source.read(index)
        try:
            return decoder.decode(sample)
        finally:
            if not isinstance(sample, np.ndarray):
                sample.close()


def attempt(source: Source, index: int, decoder: Decoder) -> Decoded | str:
    """Decode a sample; if it is damaged, return its name and the reason."""
    try:
        return _read(source, index, decoder)
    except MemoryError as error:  # nothing is said of the sample, so it is not left out
        raise ConfigError(budget.too_large(source.name(index), error)) from error
    except Exception as error:  # decoders raise anything on damaged bytes
        if isinstance(error, OSError) and error.errno in SYSTEM_ERRORS:
            raise
        # Without the name, which is there already.
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = told.strip().split("\n")[0] or type(error).__name__
        return f"{source.name(index)}: {printable(reason)}"
