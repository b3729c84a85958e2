"""The move that lays an image over another one, of those that a changed copy may have made."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.types import Images

WHITE, BLACK = 0.98, 0.005  # where brightening may have cut values off
FARTHEST = 0.15  # by which a move is improved, where an image is from -1 to 1
EDGE = 1.5  # pixels at the frame of the source that explain nothing


def warped(images: Images, way: Float[Tensor, "*batch 2 3"]) -> Images:
    """Each image, its pixels taken from where ``way`` says; edges go on beyond the frame."""
    places = _places(way.view(-1, 2, 3), images).expand(len(images), -1, -1, -1)
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


def _places(way: Tensor, images: Tensor) -> Tensor:
    side = images.shape[2]
    return (way @ place(side).flatten(1)).mT.reshape(len(way), side, side, 2)


def forms(way: Float[Tensor, "batch 2 3"]) -> list[Float[Tensor, "batch 4 6"]]:
    """What a copy may have done to an image: bases of the two kinds of moves, near each way.

    First stretching and shifting, as a crop does; then turning, zooming and shifting. A free move
    would also lay images over one another that only look alike.
    """
    box, turn = torch.zeros(2, len(way), 4, 6)
    for one in (box, turn):
        one[:, 2, 2] = one[:, 3, 5] = 1
    box[:, 0, 0] = box[:, 1, 4] = 1
    side = way[:, 0, 0].sign()  # -1 for a mirror image
    turn[:, 0, 0], turn[:, 1, 1] = side, -side
    turn[:, 0, 4] = turn[:, 1, 3] = 1
    return [box, turn]


def aligned(
    source: Images,
    target: Images,
    way: Float[Tensor, "batch 2 3"],
    *,
    form: Float[Tensor, "batch some 6"] | None = None,
    steps: int = 6,
) -> Float[Tensor, "batch 2 3"]:
    """The move near the given one by which a source explains its target most.

    Args:
        source: Images from 0 to 1.
        target: As many.
        way: Where each target may take its pixels from, in the source.
        form: Basis of the moves that are allowed, of :func:`forms`; None allows any affine move.
        steps: How often it is improved, by Gauss-Newton.

    References:
        Lucas and Kanade, 1981, An Iterative Image Registration Technique.
    """
    basis = torch.eye(6).expand(len(way), 6, 6) if form is None else form
    parts = torch.linalg.solve(basis @ basis.mT, basis @ way.reshape(-1, 6, 1))
    begin = theta = (basis.mT @ parts).view(-1, 2, 3)
    where = basis.reshape(len(way), basis.shape[1], 2, 3) @ place(source.shape[2]).flatten(1)
    (x, y), few = where[:, None].unbind(dim=3), torch.eye(basis.shape[1])
    sloped = torch.cat([source, *edges(source)], dim=1)
    for _ in range(steps):
        seen, mask = moved(sloped, theta)
        seen, across, down = seen.chunk(3, dim=1)
        light, parts = explained([seen], target, mask)
        open_ = mask * ((light < 1) | (target < WHITE))
        rest = (target - light.clamp(0, 1)) * open_
        seen_by = parts[:, 0].clamp(0.4, 2.5)[:, None, None, None] * open_
        across, down = ((slope * seen_by).flatten(2)[:, :, None] for slope in (across, down))
        slopes = (across * x + down * y).movedim(2, 1).flatten(2)
        normal = slopes @ slopes.mT
        scale = normal.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-6
        normal = normal + 1e-3 * scale[:, None, None] * few
        step = basis.mT @ torch.linalg.solve(normal, slopes @ rest.flatten(1)[:, :, None])
        theta = begin + (theta + step.view(-1, 2, 3) - begin).clamp(-FARTHEST, FARTHEST)
    return theta


def explained(given: list[Images], target: Images, mask: Tensor) -> tuple[Images, Tensor]:
    """The best sum of images and a constant, where the target is not cut off, and its parts."""
    weight = mask * ((target < WHITE) & (target > BLACK)) + 1e-3 * mask + 1e-6
    weight = weight.expand_as(target).flatten(1)[:, None]
    basis = torch.stack([*given, torch.ones_like(target)], dim=1).flatten(2)
    ridge = 1e-5 * target.shape[1:].numel() * torch.eye(basis.shape[1])
    normal = (basis * weight) @ basis.mT + ridge
    along = (basis * weight) @ target.flatten(1)[:, :, None] + ridge[:, :1]
    parts = torch.linalg.solve(normal, along)
    return (parts * basis).sum(dim=1).view_as(target), parts[:, :, 0]


def moved(images: Tensor, theta: Tensor, mode: str = "bilinear") -> tuple[Tensor, Tensor]:
    """Each image after its move, and where that took pixels from inside the image."""
    places = _places(theta, images)
    inside = (places.abs() <= 1 - 2 * EDGE / images.shape[-1]).all(dim=3)[:, None].float()
    seen = F.grid_sample(images, places, mode, padding_mode="border", align_corners=False)
    return seen, inside


def sharply(images: Images, theta: Float[Tensor, "batch 2 3"]) -> Images:
    """Each image after its move, by the smoothest step from each pixel to the next.

    With the bicubic form of torch, whose slope at a pixel is 0.75 of the central difference's
    double, it spans what the bicubic forms of other libraries make of an image.
    """
    places, side = _places(theta, images), images.shape[-1]
    pixel = ((places + 1) * side - 1) / 2
    part = pixel - pixel.floor()
    pixel = pixel.floor() + part.square() * (3 - 2 * part)
    places = (2 * pixel + 1) / side - 1
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


def smooth(images: Images) -> Images:
    """The mean of each pixel and its neighbors."""
    wide = F.pad(images, (1, 1, 1, 1), mode="replicate")
    lines = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    return (lines[:, :, :, :-2] + lines[:, :, :, 1:-1] + lines[:, :, :, 2:]) / 9


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
