"""Images of samples and their views, for TensorBoard."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.types import ImageSpec, Samples, SequenceSpec, Stored, Views, as_floats

MOST_SAMPLES = 8
COLOR = 3
WAVE_HEIGHT, WAVE_WIDTH = 48, 256
FRAME = 2  # pixels
FRAMES = ((1.0, 1.0, 1.0), (0.1, 0.6, 0.2), (0.8, 0.1, 0.1))  # no class, the same, another


def views_image(
    samples: Stored, views: Views, spec: ImageSpec | SequenceSpec
) -> Float[Tensor, "shown rows columns"]:
    """One image in [0, 1] with a row for each of up to 8 samples: the sample, then its views.

    Images that have not 1 or 3 channels show the first. Sequences show the waveform of the first
    channel, scaled to the largest value of the row.

    >>> spec = ImageSpec(channels=1, size=4, mean=(0.5,), std=(0.25,))
    >>> white = torch.full((2, 1, 4, 4), 255, dtype=torch.uint8)
    >>> image = views_image(white, [torch.full((2, 1, 4, 4), 2.0)], spec)
    >>> image.shape, image.unique()  # 2 rows and 2 columns of 6 pixels, with a white frame
    (torch.Size([1, 12, 12]), tensor([1.]))
    """
    extent = (1,) * (views[0].ndim - 2)
    mean, std = (torch.tensor(v).view(1, -1, *extent) for v in (spec.mean, spec.std))
    columns = [as_floats(samples[:MOST_SAMPLES].cpu())]
    columns += [view[:MOST_SAMPLES].cpu().float() * std + mean for view in views]
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


def contact_sheet(
    samples: Stored, spec: ImageSpec | SequenceSpec, *, columns: int = 8
) -> Float[Tensor, "shown rows columns"]:
    """Samples side by side in one image in [0, 1], row by row.

    Images that have not 1 or 3 channels show the first; sequences show the waveform of the first
    channel, each scaled to its largest value.

    >>> spec = ImageSpec(channels=1, size=4, mean=(0.5,), std=(0.25,))
    >>> contact_sheet(torch.zeros(5, 1, 4, 4, dtype=torch.uint8), spec, columns=2).shape
    torch.Size([1, 18, 12])
    """
    framed = F.pad(drawn(samples, spec), (1, 1, 1, 1), value=1.0)
    lacking = -len(framed) % columns
    framed = torch.cat([framed, torch.ones_like(framed[:1]).repeat(lacking, 1, 1, 1)])
    rows = framed.unflatten(0, (-1, columns))
    return rows.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)


def neighbor_strips(
    images: Float[Tensor, "rows c h w"],
    queries: Int[Tensor, " queries"],
    near: Int[Tensor, "queries k"],
    labels: Int[Tensor, " rows"],
) -> Float[Tensor, "3 high wide"]:
    """One image in [0, 1] with a row for each query: itself, then its neighbors.

    The frame of a neighbor is green where it is of the query's class, red where it is of another,
    and white where one has none.

    >>> images, labels = torch.zeros(3, 1, 4, 4), torch.tensor([0, 0, 1])
    >>> strips = neighbor_strips(images, torch.tensor([0]), torch.tensor([[1, 2]]), labels)
    >>> strips.shape, strips[:, 0, ::8].T  # colors of the frames
    (torch.Size([3, 8, 24]), tensor([[1.0000, 1.0000, 1.0000],
            [0.1000, 0.6000, 0.2000],
            [0.8000, 0.1000, 0.1000]]))
    """
    columns = torch.cat([queries[:, None], near], dim=1)
    own, others = labels[queries, None], labels[columns]
    kind = torch.where(own == others, 1, 2) * ((own >= 0) & (others >= 0))
    kind[:, 0] = 0
    frames = torch.tensor(FRAMES)[kind.flatten()][:, :, None, None]
    shown = images[columns.flatten()].expand(-1, COLOR, -1, -1)
    inside = F.pad(torch.ones_like(shown), (FRAME,) * 4)
    framed = torch.where(inside > 0, F.pad(shown, (FRAME,) * 4), frames)
    rows = framed.unflatten(0, columns.shape)
    return rows.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)


def drawn(samples: Stored, spec: ImageSpec | SequenceSpec) -> Float[Tensor, "batch c h w"]:
    """Samples as images of 1 or 3 channels in [0, 1]; sequences as waveforms.

    >>> spec = SequenceSpec(channels=1, length=400, mean=(0.0,), std=(1.0,))
    >>> drawn(torch.zeros(2, 1, 400), spec).shape
    torch.Size([2, 1, 48, 256])
    """
    shown = as_floats(samples)
    if isinstance(spec, SequenceSpec):
        shown = waves(shown / shown.abs().amax((1, 2), keepdim=True).clamp(min=1e-12))
    shown = shown if shown.shape[1] in (1, COLOR) else shown[:, :1]
    return shown.clamp(0, 1)


def waves(samples: Samples) -> Float[Tensor, "batch 1 height width"]:
    """Waveforms of sequences from -1 to 1, dark on light: each column spans its values.

    >>> wave = waves(torch.ones(1, 1, 400))  # 1 is the top row of 48
    >>> wave.shape, wave.mean(dim=3).flatten()[:3]
    (torch.Size([1, 1, 48, 256]), tensor([0., 1., 1.]))
    """
    wave = samples[:, :1].float()
    high = F.adaptive_max_pool1d(wave, WAVE_WIDTH)[:, :, None]
    low = -F.adaptive_max_pool1d(-wave, WAVE_WIDTH)[:, :, None]
    edges = torch.linspace(1, -1, WAVE_HEIGHT + 1)[None, None, :, None]
    inside = (edges[:, :, :-1] >= low) & (edges[:, :, 1:] <= high)
    return 1 - inside.float()
