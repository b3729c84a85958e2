"""Range checks of arguments: one line that names the argument, its range and its value."""

import math
from collections.abc import Sequence
from pathlib import Path

from ssl_dml.types import ConfigError, sides_of

MAX_SIDE = 4096  # pixels

Number = int | float  # where types are checked at run time, an int is no float


def positive(section: str = "", /, **values: Number | None) -> None:
    """Raise unless every value is above 0.

    Args:
        section: Part of the configuration that the values are keys of; "" for plain arguments.
        **values: Numbers by name. None passes; NaN and infinities never do.

    Raises:
        ConfigError: Naming ``section.name``, if a section is given.
        ValueError: Naming the argument, otherwise.

    >>> positive(temperature=0.0)
    Traceback (most recent call last):
    ValueError: temperature must be positive, got 0.0
    """
    for name, value in values.items():
        _check(section, name, value, "positive", value is None or value > 0)


def at_least(low: Number, section: str = "", /, **values: Number | None) -> None:
    """Raise unless every value is ``low`` or more; the rest as :func:`positive`.

    >>> at_least(1, "train", keep=0)
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: train.keep must be at least 1, got 0
    """
    for name, value in values.items():
        _check(section, name, value, f"at least {low}", value is None or value >= low)


def in_range(low: Number, high: Number, section: str = "", /, **values: Number | None) -> None:
    """Raise unless every value is from ``low`` to ``high``, both included.

    >>> in_range(0, 1, momentum=1.5)
    Traceback (most recent call last):
    ValueError: momentum must be from 0 to 1, got 1.5
    """
    for name, value in values.items():
        _check(section, name, value, f"from {low} to {high}", value is None or low <= value <= high)


def inside(low: Number, high: Number, section: str = "", /, **values: Number | None) -> None:
    """Raise unless every value is above ``low`` and below ``high``.

    >>> inside(0, 1, "train", ema=1.0)
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: train.ema must be above 0 and below 1, got 1.0
    """
    for name, value in values.items():
        wanted = f"above {low} and below {high}"
        _check(section, name, value, wanted, value is None or low < value < high)


def below(high: Number, section: str = "", /, **values: Number | None) -> None:
    """Raise unless every value is from 0 to below ``high``; the rest as :func:`positive`.

    >>> below(1, tau_plus=1.0)
    Traceback (most recent call last):
    ValueError: tau_plus must be from 0 to below 1, got 1.0
    """
    for name, value in values.items():
        _check(section, name, value, f"from 0 to below {high}", value is None or 0 <= value < high)


def finite(section: str = "", /, **values: Number | Sequence[Number] | None) -> None:
    """Raise if a value, or one of several, is NaN or infinite.

    >>> finite(lengths=(1.0, math.inf))
    Traceback (most recent call last):
    ValueError: lengths must be finite, got inf
    """
    for name, value in values.items():
        for number in value if isinstance(value, Sequence) else [value]:
            _check(section, name, number, "finite", True)


def seeds(section: str = "", /, **values: int) -> None:
    """Raise unless every seed is from 0 to 2,147,483,647, which all generators take."""
    in_range(0, 2**31 - 1, section, **values)


def sizes(section: str = "", /, **values: int | tuple[int, int] | None) -> None:
    """Raise unless every side of every size is from 1 to 4,096 pixels.

    >>> sizes("crops", size=(128, 0))
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: crops.size must be from 1 to 4096, got 0
    """
    for name, size in values.items():
        for side in () if size is None else sides_of(size):
            in_range(1, MAX_SIDE, section, **{name: side})


def named(key: str, path: Path) -> Path:
    """A path whose name the file system takes, of a user's folder.

    >>> named("output", Path("x" * 300))
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: --output: File name too long

    Raises:
        ConfigError: Naming the key, if it cannot be looked at.
    """
    path = path.expanduser()
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # a null byte is a ValueError
        raise ConfigError(f"--{key}: {getattr(error, 'strerror', None) or error}") from error
    return path


def fraction(section: str = "", /, **values: Number | None) -> None:
    """Raise unless every value is above 0 and at most 1.

    >>> fraction(sample_rate=0.0)
    Traceback (most recent call last):
    ValueError: sample_rate must be above 0 and at most 1, got 0.0
    """
    for name, value in values.items():
        allowed = value is None or 0 < value <= 1
        _check(section, name, value, "above 0 and at most 1", allowed)


def nested_dims(dims: Sequence[int], dim: int) -> list[int]:
    """Dimensions of nested prefixes of an embedding, if they rise to its own.

    Args:
        dims: Dimension of each prefix.
        dim: Dimension of the embedding.

    Raises:
        ConfigError: Otherwise, with what would be right.

    >>> nested_dims([16, 64], 128)
    Traceback (most recent call last):
    ssl_dml.types.ConfigError: nested must rise to 128, the dimension of an embedding, got \
[16, 64]: set it to [16, 64, 128]
    """
    found = list(dims)
    if not found or found[0] < 1 or found != sorted({*found}) or found[-1] != dim:
        possible = [*sorted({one for one in found if 1 <= one < dim}), dim]
        raise ConfigError(
            f"nested must rise to {dim}, the dimension of an embedding, got {found}: set it to "
            f"{possible}"
        )
    return found


def _check(section: str, name: str, value: Number | None, wanted: str, allowed: bool) -> None:
    if allowed and (value is None or -math.inf < value < math.inf):
        return
    error = ConfigError if section else ValueError
    raise error(f"{section}{'.' if section else ''}{name} must be {wanted}, got {value}")
