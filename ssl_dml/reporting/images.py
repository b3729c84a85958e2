"""Images of what training sees."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.types import ImageSpec, Samples, SequenceSpec, Stored, Views, as_floats

SHOWN = 8
COLOR = 3
WAVE_HEIGHT, WAVE_WIDTH = 48, 256


def views_image(
    samples: Stored, views: Views, spec: ImageSpec | SequenceSpec
) -> Float[Tensor, "shown rows columns"]:
    """Up to 8 samples, a row each: the sample, then its views, on the scale [0, 1].

    Of images with other than 1 or 3 channels the first is shown, and of sequences the wave of
    the first, from silence in the middle to the loudest of its row.
    """
    extent = (1,) * (views[0].ndim - 2)
    mean, std = (torch.tensor(v).view(1, -1, *extent) for v in (spec.mean, spec.std))
    columns = [as_floats(samples[:SHOWN].cpu())]
    columns += [view[:SHOWN].cpu().float() * std + mean for view in views]
    if isinstance(spec, SequenceSpec):
        loudest = torch.stack([column.abs().amax((1, 2)) for column in columns]).amax(0)
        columns = [waves(column / loudest.clamp(min=1e-12)[:, None, None]) for column in columns]
    side = max(column.shape[-1] for column in columns)
    framed: list[Tensor] = []
    for column in columns:
        shown = column if column.shape[1] in (1, COLOR) else column[:, :1]
        right, below = side - shown.shape[-1], max(c.shape[-2] for c in columns) - shown.shape[-2]
        framed.append(F.pad(shown.clamp(0, 1), (1, 1 + right, 1, 1 + below), value=1.0))
    return torch.cat([torch.cat(list(column), dim=1) for column in framed], dim=2)


def waves(samples: Samples) -> Float[Tensor, "batch 1 height width"]:
    """Sequences from -1 to 1 drawn dark on light; a column spans the values of its time."""
    wave = samples[:, :1].float()
    high = F.adaptive_max_pool1d(wave, WAVE_WIDTH)[:, :, None]
    low = -F.adaptive_max_pool1d(-wave, WAVE_WIDTH)[:, :, None]
    edges = torch.linspace(1, -1, WAVE_HEIGHT + 1)[None, None, :, None]
    inside = (edges[:, :, :-1] >= low) & (edges[:, :, 1:] <= high)
    return 1 - inside.float()
