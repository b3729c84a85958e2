"""Tell samples from the padding that makes them equally long, and describe what is before it."""

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


def part_statistics(
    values: Float[Tensor, "batch time dim"], lengths: Int[Tensor, " batch"], parts: int
) -> tuple[Float[Tensor, "batch parts dim"], Float[Tensor, "batch parts dim"]]:
    """Mean and variance over time in equal parts of each sequence, without its padding.

    A part has every step that it touches, so parts share a step where the length is no multiple
    of their number, and one of more parts than steps is a step.

    >>> values = torch.tensor([[[1.0], [3.0], [5.0], [7.0], [0.0]]])  # the last is padding
    >>> means, variances = part_statistics(values, torch.tensor([4]), 2)
    >>> means.flatten(), variances.flatten()
    (tensor([2., 6.]), tensor([1., 1.]))

    Args:
        values: Sequences, padded at the end.
        lengths: Steps of each before the padding, at least 1.
        parts: Number of parts, at least 1.
    """
    steps = torch.arange(values.shape[1], device=values.device)
    means, variances = list[Tensor](), list[Tensor]()
    for part in range(parts):
        first, end = lengths * part // parts, (lengths * (part + 1) + parts - 1) // parts
        inside = ((steps >= first[:, None]) & (steps < end[:, None]))[:, :, None]
        count = (end - first)[:, None]
        mean = values.where(inside, 0.0).sum(dim=1) / count
        squares = (values - mean[:, None]).square().where(inside, 0.0).sum(dim=1) / count
        means.append(mean)
        variances.append(squares)
    return torch.stack(means, dim=1), torch.stack(variances, dim=1)
