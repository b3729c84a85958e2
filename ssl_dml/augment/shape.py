"""What a network sees at test time of images that were stored squashed."""

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.types import Aspects, ImageSpec, Samples, SequenceSpec, Stored, as_floats


def unsquash(
    samples: Stored, aspects: Aspects | None, spec: ImageSpec | SequenceSpec
) -> Stored | Samples:
    """Undo the squashing of images, and show what ``spec.test_view`` says, in the same size.

    The center is what a resize of the shorter side and a crop of the center keep. Sampling is
    linear with a low-pass filter where an image shrinks, as Pillow's.

    >>> spec = ImageSpec(channels=1, size=4, mean=(0.5,), std=(0.25,), test_view="pad")
    >>> white = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    >>> unsquash(white, torch.tensor([2.0]), spec)[0, 0, :, 0]  # twice as wide as it is stored
    tensor([0.5000, 1.0000, 1.0000, 0.5000])

    Args:
        samples: Stored samples.
        aspects: By what factor each image was wider, for its height, than it is stored; None
            leaves all as they are, as for sequences.
        spec: The test view, and the mean that fills borders.

    Returns:
        Floats on the scale where 255 is 1, or the samples as they are.
    """
    if aspects is None or not isinstance(spec, ImageSpec) or spec.test_view == "squash":
        return samples
    aspects = aspects.to(samples.device)
    wider, higher = aspects.clamp(min=1), (1 / aspects).clamp(min=1)
    height, width = (higher, wider) if spec.test_view == "center" else (1 / wider, 1 / higher)
    rows, columns = _weights(samples.shape[2], 1 / height), _weights(samples.shape[3], 1 / width)
    mean = torch.tensor(spec.mean, device=samples.device)[:, None, None]
    images = as_floats(samples) - mean  # so that a border without weight has the mean
    return rows[:, None] @ images @ columns[:, None].mT + mean


def _weights(
    count: int, fraction: Float[Tensor, " batch"]
) -> Float[Tensor, "batch {count} {count}"]:
    """Weight of each stored pixel of an axis in each one that is shown.

    Args:
        count: Pixels along the axis.
        fraction: Length that is shown, about the center, relative to what is stored.
    """
    places = torch.arange(count, device=fraction.device) + 0.5
    at = count / 2 + (places - count / 2) * fraction[:, None]
    reach = fraction.clamp(min=1)[:, None, None]
    near = (1 - (at[:, :, None] - places).abs() / reach).clamp(min=0)
    inside = (at > 0) & (at < count)
    return near / near.sum(2, keepdim=True).clamp(min=1e-6) * inside[:, :, None]
