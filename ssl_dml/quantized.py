"""Rows of floats in fewer bytes: half precision, integers with a scale, or signs."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

DType = Literal["float32", "float16", "int8", "bit"]


class Levels(NamedTuple):
    """What the bits of a table say: which side of ``center`` a value of a unit row is on.

    Attributes:
        center: Of each dimension, the mean over rows of length 1.
        spread: Of each dimension, the mean distance from it, by which a bit is restored.
    """

    center: Float[np.ndarray, " dim"]
    spread: Float[np.ndarray, " dim"]

    @classmethod
    def of(cls, rows: Float[np.ndarray, "rows dim"]) -> "Levels":
        """Those of some rows of any length.

        >>> Levels.of(np.array([[3.0, 4.0], [1.0, 0.0]])).center.tolist()
        [0.800000011920929, 0.4000000059604645]
        """
        unit = _unit(rows)
        center = unit.mean(axis=0, dtype=np.float64)
        spread = np.abs(unit - center).mean(axis=0, dtype=np.float64)
        return cls(center.astype(np.float32), spread.astype(np.float32))

    @classmethod
    def check(cls, given: Mapping[str, object], dim: int) -> None:
        """Raise unless a file has none, or both with a number of each dimension.

        >>> Levels.check({"center": [0.1, 2.0], "spread": [0.1, 0.1]}, 2)
        Traceback (most recent call last):
        ValueError: has levels that cannot be: center and spread need 2 numbers from -1 to 1
        """
        rows = [given.get(name) for name in cls._fields] if given else []
        for row in rows:
            numbers: list[Any] = row if isinstance(row, list) and len(row) == dim else [None]
            if not all(type(one) in (int, float) and -1 <= one <= 1 for one in numbers):
                raise ValueError(
                    f"has levels that cannot be: {' and '.join(cls._fields)} need {dim} numbers "
                    "from -1 to 1"
                )


class Quantized(NamedTuple):
    """Rows in a type of storage.

    Attributes:
        values: What is stored; of bits, eight in a byte.
        scale: Of int8, what the values of each row are multiplied by; None otherwise.
    """

    values: Shaped[np.ndarray, "rows stored"]
    scale: Float[np.ndarray, " rows"] | None = None


def quantized(
    rows: Float[np.ndarray, "rows dim"], dtype: DType, levels: Levels | None = None
) -> Quantized:
    """Rows as a table of this type stores them.

    Args:
        rows: Of any length.
        dtype: Type of storage.
        levels: Of bits, what unit rows are compared with; None for 0.

    >>> quantized(np.array([[1.0, -0.5]]), "int8")
    Quantized(values=array([[127, -64]], dtype=int8), scale=array([0.00787402], dtype=float32))
    >>> quantized(np.array([[1.0, -1.0, 0.3]]), "bit").values
    array([[160]], dtype=uint8)
    """
    if dtype == "int8":
        scale = np.abs(rows).max(1, initial=0) / 127
        values = np.rint(rows / np.where(scale > 0, scale, 1)[:, None]).astype(np.int8)
        return Quantized(values, scale.astype(np.float32))
    if dtype == "bit":
        above = rows > 0 if levels is None else _unit(rows) > levels.center
        return Quantized(np.packbits(above, axis=1))
    return Quantized(rows.astype(np.float16 if dtype == "float16" else np.float32, copy=False))


def restored(
    stored: Quantized, dim: int, dtype: DType, levels: Levels | None = None
) -> Float[np.ndarray, "rows dim"]:
    """The floats that stored rows stand for.

    Args:
        stored: Rows of :func:`quantized`.
        dim: Dimension of a row.
        dtype: Type of storage.
        levels: Of bits, those they were stored with. A bit stands for the center plus or minus the
            spread, so a restored row is compared with unit rows of the same network as they are;
            None restores signs as rows of length 1.

    >>> restored(quantized(np.array([[0.3, -2.0, 1.0, 5.0]]), "bit"), 4, "bit").tolist()
    [[0.5, -0.5, 0.5, 0.5]]
    >>> levels = Levels(np.array([0.7, 0.5]), np.array([0.25, 0.5]))
    >>> restored(quantized(np.array([[0.6, 0.8]]), "bit", levels), 2, "bit", levels).tolist()
    [[0.44999998807907104, 1.0]]
    """
    values, scale = stored
    if dtype == "bit":
        signs = np.unpackbits(values.astype(np.uint8), axis=1, count=dim) * 2.0 - 1.0
        values = signs / dim**0.5 if levels is None else levels.center + signs * levels.spread
    elif scale is not None:
        values = values * scale[:, None]
    return np.ascontiguousarray(values, dtype=np.float32)


def _unit(rows: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim"]:
    """Rows of length 1; rows of zeros stay."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
