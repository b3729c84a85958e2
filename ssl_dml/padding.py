"""Tell samples from the padding that makes them equally long."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.types import Stored


def unpadded_lengths(samples: Stored | Float[Tensor, "batch channels time"]) -> Int[Tensor, " b"]:
    """Values of each sequence before its padding: the end that repeats its last value.

    It is the same for stored and for normalized sequences. One that is constant has no padding.

    >>> unpadded_lengths(torch.tensor([[[1, 2, 0, 0]], [[1, 2, 3, 4]], [[5, 5, 5, 5]]]))
    tensor([2, 4, 4])
    """
    size = samples.shape[2]
    differs = (samples != samples[:, :, -1:]).any(dim=1)
    found = size - differs.flip(1).to(torch.uint8).argmax(dim=1)
    return found.where(differs.any(dim=1) & (found < size - 1), size)
