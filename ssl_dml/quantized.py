"""Rows of floats in fewer bytes: half precision, integers with a scale, or signs."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

DType = Literal["float32", "float16", "int8", "bit"]


class Quantized(NamedTuple):
    """Rows in a type of storage.

    Attributes:
        values: What is stored; of bits, eight in a byte.
        scale: Of int8, what the values of each row are multiplied by; None otherwise.
    """

    values: Shaped[np.ndarray, "rows stored"]
    scale: Float[np.ndarray, " rows"] | None = None


def quantized(rows: Float[np.ndarray, "rows dim"], dtype: DType) -> Quantized:
    """Rows as a table of this type stores them.

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
        return Quantized(np.packbits(rows > 0, axis=1))
    return Quantized(rows.astype(np.float16 if dtype == "float16" else np.float32, copy=False))


def restored(stored: Quantized, dim: int, dtype: DType) -> Float[np.ndarray, "rows dim"]:
    """The floats that stored rows stand for; signs as rows of length 1.

    >>> restored(quantized(np.array([[0.3, -2.0, 1.0, 5.0]]), "bit"), 4, "bit").tolist()
    [[0.5, -0.5, 0.5, 0.5]]
    """
    values, scale = stored
    if dtype == "bit":
        signs = np.unpackbits(values.astype(np.uint8), axis=1, count=dim)
        values = (signs * 2.0 - 1.0) / dim**0.5
    elif scale is not None:
        values = values * scale[:, None]
    return np.ascontiguousarray(values, dtype=np.float32)
