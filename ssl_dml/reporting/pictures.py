"""Pictures of what training sees."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.types import ImageSpec, Pixels, Views

SHOWN = 8
COLOUR = 3


def views_picture(
    pixels: Pixels, views: Views, images: ImageSpec
) -> Float[Tensor, "shown rows columns"]:
    """Up to 8 samples, a row each: the picture, then its views, on the scale [0, 1].

    Of pictures with other than 1 or 3 channels the first is shown.
    """
    side = max(pixels.shape[-1], *(view.shape[-1] for view in views))
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (images.mean, images.std))
    columns = [pixels[:SHOWN].cpu().float() / 255]
    columns += [view[:SHOWN].cpu().float() * std + mean for view in views]
    framed: list[Tensor] = []
    for column in columns:
        shown = column if column.shape[1] in (1, COLOUR) else column[:, :1]
        space = side - shown.shape[-1]
        framed.append(F.pad(shown.clamp(0, 1), (1, 1 + space, 1, 1 + space), value=1.0))
    return torch.cat([torch.cat(list(column), dim=1) for column in framed], dim=2)
