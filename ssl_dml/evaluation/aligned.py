"""How well one thumbnail, moved and brightened, explains another."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.types import Images

AGREEMENT = 0.92  # from which on two images are copies
WHITE = 0.98  # where brightening may have cut values off
FARTHEST = 0.15  # by which a move is improved, where an image is from -1 to 1
OVERLAP = 0.5  # least part of an image that the other covers


def warped(images: Images, way: Float[Tensor, "*batch 2 3"]) -> Images:
    """Each image, its pixels taken from where ``way`` says; edges go on beyond the frame."""
    places = _places(way.expand(len(images), 2, 3), images)
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


def _places(way: Tensor, images: Images) -> Tensor:
    return F.affine_grid(way, list(images.shape), align_corners=False)


def agreement(
    source: Images, target: Images, way: Float[Tensor, "batch 2 3"], *, steps: int = 6
) -> Float[Tensor, " batch"]:
    """How well each target is explained by its source: 1 for the same image, low for look-alikes.

    What the moved and brightened source leaves unexplained counts where it is most, in tiles of 8
    by 8 pixels, against the variance of the target. A quarter of what is left after smoothing
    counts against the fine detail, so that an outline alone does not agree.

    Args:
        source: Images from 0 to 1.
        target: As many.
        way: Where each target may take its pixels from, in the source; improved here.
        steps: How often it is improved.
    """
    theta = _improved(_smooth(source), _smooth(target), way, steps)
    moved, mask = _moved(source, theta)
    rest = (target - _explained(moved, target, mask).clamp(0, 1)) * mask
    count = mask.sum(dim=(1, 2, 3), keepdim=True) * target.shape[1] + 1e-6
    mean = (target * mask).sum(dim=(1, 2, 3), keepdim=True) / count
    spread = _energy((target - mean) * mask)
    worst = F.avg_pool2d(_energy(rest), 8, 4).amax(dim=(1, 2, 3)) / (
        spread.mean(dim=(1, 2, 3)) + 1e-4
    )
    detail = _energy((target - _smooth(target)) * mask).sum(dim=(1, 2, 3))
    coarse = _energy(_smooth(rest)).sum(dim=(1, 2, 3)) / (detail + 1e-2)
    return torch.where(
        mask.mean(dim=(1, 2, 3)) >= OVERLAP, 1 - torch.maximum(worst, coarse / 4), -1.0
    )


def _improved(
    source: Images, target: Images, way: Tensor, steps: int
) -> Float[Tensor, "batch 2 3"]:
    """The move near the given one that explains most, by Gauss-Newton steps.

    References:
        Lucas and Kanade, 1981, An Iterative Image Registration Technique.
    """
    theta, where = way, place(source.shape[2])
    sloped = torch.cat([source, *edges(source)], dim=1)
    for _ in range(steps):
        moved, mask = _moved(sloped, theta)
        seen, across, down = moved.chunk(3, dim=1)
        gain, bias = _light(seen, target, mask)
        rest = (target - gain * seen - bias) * mask
        slopes = torch.cat([across[:, :, None] * where, down[:, :, None] * where], dim=2)
        slopes = (slopes * (gain * mask)[:, :, None]).movedim(2, 1).flatten(2)
        normal = slopes @ slopes.mT
        scale = normal.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-6
        normal = normal + 1e-3 * scale[:, None, None] * torch.eye(6)
        step = torch.linalg.solve(normal, slopes @ rest.flatten(1)[:, :, None])
        theta = way + (theta + step.view(-1, 2, 3) - way).clamp(-FARTHEST, FARTHEST)
    return theta


def _energy(images: Images) -> Float[Tensor, "batch 1 height width"]:
    return images.square().mean(dim=1, keepdim=True)


def _explained(seen: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The best sum of an image, its blur and a constant, where the target is not white."""
    weight = (mask * (target < WHITE) + 1e-4).expand_as(target).flatten(1)[:, None]
    given = torch.stack([seen, _smooth(seen), torch.ones_like(seen)], dim=1).flatten(2)
    normal = (given * weight) @ given.mT + 1e-3 * torch.eye(3)
    solved = torch.linalg.solve(normal, (given * weight) @ target.flatten(1)[:, :, None])
    return (solved * given).sum(dim=1).view_as(target)


def _moved(images: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    places = _places(theta, images)
    inside = (places.abs() <= 1 - 1 / images.shape[-1]).all(dim=3)[:, None].float()
    return F.grid_sample(images, places, padding_mode="border", align_corners=False), inside


def _light(seen: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and bias that make one image most like the other, where that one is not white."""
    weight = mask * (target < WHITE).all(dim=1, keepdim=True) + 1e-4
    weight = weight / weight.sum(dim=(1, 2, 3), keepdim=True)
    a, b = ((v * weight).sum(dim=(1, 2, 3), keepdim=True) for v in (seen, target))
    cov = ((seen - a) * (target - b) * weight).sum(dim=(1, 2, 3), keepdim=True)
    var = ((seen - a).square() * weight).sum(dim=(1, 2, 3), keepdim=True)
    gain = (cov / (var + 1e-6)).clamp(0.4, 2.5)
    return gain, b - gain * a


def _smooth(images: Images) -> Images:
    return F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def edges(images: Images) -> tuple[Images, Images]:
    """Slopes across and down, for a step of 1 where the image is from -1 to 1."""
    wide = F.pad(images, (1, 1, 1, 1), mode="replicate")
    height, width = images.shape[2:]
    across = (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) * width / 4
    down = (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) * height / 4
    return across, down


def place(side: int) -> Float[Tensor, "3 side side"]:
    """x, y and 1 at each pixel."""
    ticks = (torch.arange(side) + 0.5) * 2 / side - 1
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)])
