"""Why a run stops before its end, other than by a mistake in its configuration."""

from collections.abc import Sequence


class NonFiniteError(ValueError):
    """A number that must be finite is not; the message says which and where.

    Args:
        message: What is not finite.
        samples: Indices of the samples it was computed from, if they are known.
    """

    def __init__(self, message: str, samples: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.samples = list(samples)


class Interrupted(Exception):  # noqa: N818 - it is no error
    """A signal stopped the run after its state was saved.

    Args:
        message: Where it stopped, and how to continue.
        exit_code: What a shell expects of a program that this signal ended.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
