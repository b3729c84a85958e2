"""The hue of RGB images, turned in HSV."""

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.augment.drawn import per_image
from ssl_dml.types import Images


def turn_hue(images: Images, turn: Float[Tensor, " batch"]) -> Images:
    """Add to the hue of each image in HSV; its saturation and value stay.

    Equal to kornia's ``adjust_hue``, which takes radians.

    >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    >>> turn_hue(red, torch.tensor([1 / 3])).flatten()
    tensor([0., 1., 0.])

    Args:
        images: RGB from 0 to 1.
        turn: Fraction of the color circle for each image; any whole number changes nothing.
    """
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    spread = value - images.amin(1)
    safe = torch.where(spread == 0, 1.0, spread)
    # The hue in sixths of the circle, from the channel that is largest.
    sixths = torch.where(
        (red >= green) & (red >= blue),
        (green - blue) / safe,
        torch.where(green >= blue, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    sixths = sixths + per_image(images, turn * 6)[:, 0]
    order = torch.arange(5, 0, -2, device=images.device)
    # Each channel falls from the value to the least one along two sixths, half the circle away.
    away = (sixths[:, None] + order[:, None, None]) % 6
    fall = torch.minimum(away, 4 - away).clamp(0, 1)
    return value[:, None] - spread[:, None] * fall
