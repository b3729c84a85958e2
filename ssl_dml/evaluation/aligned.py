"""What is left of one image that another one, moved and brightened, does not explain."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.types import Images

WHITE, BLACK = 0.98, 0.005  # where brightening may have cut values off
FARTHEST = 0.15  # by which a move is improved, where an image is from -1 to 1
EDGE = 1.5  # pixels at the frame of the source that explain nothing
FLOOR = 1e-5  # squared difference that nobody sees, of values up to 1
STEP = 0.2  # of the logarithms


def warped(images: Images, way: Float[Tensor, "*batch 2 3"]) -> Images:
    """Each image, its pixels taken from where ``way`` says; edges go on beyond the frame."""
    places = _places(way.expand(len(images), 2, 3), images)
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


def _places(way: Tensor, images: Images) -> Tensor:
    return F.affine_grid(way, list(images.shape), align_corners=False)


def aligned(
    source: Images, target: Images, way: Float[Tensor, "batch 2 3"], *, steps: int = 6
) -> Float[Tensor, "batch 2 3"]:
    """The move near the given one by which a source explains its target most.

    Args:
        source: Images from 0 to 1.
        target: As many.
        way: Where each target may take its pixels from, in the source.
        steps: How often it is improved, by Gauss-Newton.

    References:
        Lucas and Kanade, 1981, An Iterative Image Registration Technique.
    """
    theta, where = way, place(source.shape[2])
    sloped = torch.cat([source, *edges(source)], dim=1)
    for _ in range(steps):
        moved, mask = _moved(sloped, theta)
        seen, across, down = moved.chunk(3, dim=1)
        light, parts = _explained([seen], target, mask)
        open_ = mask * ((light < 1) | (target < WHITE))
        rest = (target - light.clamp(0, 1)) * open_
        slopes = torch.cat([across[:, :, None] * where, down[:, :, None] * where], dim=2)
        gain = parts[:, 0].clamp(0.4, 2.5)[:, None, None, None]
        slopes = (slopes * (gain * open_)[:, :, None]).movedim(2, 1).flatten(2)
        normal = slopes @ slopes.mT
        scale = normal.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-6
        normal = normal + 1e-3 * scale[:, None, None] * torch.eye(6)
        step = torch.linalg.solve(normal, slopes @ rest.flatten(1)[:, :, None])
        theta = way + (theta + step.view(-1, 2, 3) - way).clamp(-FARTHEST, FARTHEST)
    return theta


def measures(
    source: Images, target: Images, theta: Float[Tensor, "batch 2 3"]
) -> Float[Tensor, "batch measures"]:
    """What tells a changed copy from an image that only looks like one.

    First come :data:`RESIDUALS` measures of what the moved, brightened and blurred source leaves
    unexplained, of which less is more like a copy; then how the source was changed for that.

    Args:
        source: Images from 0 to 1.
        target: As many.
        theta: Where each target takes its pixels from, in the source.
    """
    seen, mask = _moved(source, theta, mode="bicubic")
    light, parts = _explained([seen, smooth(seen), _smoother(seen)], target, mask)
    light = light.clamp(0, 1)
    count, tile = mask.sum(dim=(1, 2, 3)) + 1e-3, max(4, source.shape[-1] // 4)

    def energy(x: Tensor) -> Tensor:
        return x.square().mean(dim=1, keepdim=True) * mask

    def mean(x: Tensor) -> Tensor:
        return x.sum(dim=(1, 2, 3)) / count

    def log(x: Tensor) -> Tensor:
        return (x + FLOOR).log()

    def tiles(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, tile, tile // 2)

    def most(x: Tensor) -> Tensor:
        return x.amax(dim=(1, 2, 3))

    center = (target * mask).sum(dim=(2, 3), keepdim=True) / count[:, None, None, None]
    across, down = edges(target)
    slope = (energy(across) + energy(down)) * (2 / source.shape[-1]) ** 2
    rest = (target - light) * mask
    all_, coarse, coarser = energy(rest), energy(smooth(rest)), energy(_smoother(_smoother(rest)))
    variance, steep = log(mean(energy(target - center))), log(mean(slope))
    detail, own = (target - _smoother(target)) * mask, (light - _smoother(light)) * mask
    norm = (detail.square().sum(dim=(1, 2, 3)) * own.square().sum(dim=(1, 2, 3))).sqrt()
    alike = ((detail * own).sum(dim=(1, 2, 3)) + 1e-2) / (norm + 1e-2)
    found = [
        log(mean(all_)), log(mean(all_)) - variance, log(mean(all_)) - steep,
        log(mean(coarse)), log(mean(coarse)) - steep,
        log(mean(coarser)), log(mean(coarser)) - variance,
        log(most(tiles(all_))), log(most(tiles(all_))) - variance,
        most(log(tiles(all_)) - log(tiles(slope))), most(log(tiles(coarse)) - log(tiles(slope))),
        log(most(tiles(coarse))), log(most(all_)), log(most(coarse)), log(most(coarser)),
        (1 - alike).clamp_min(1e-2).log(),
        *_shape(theta),
        parts.sum(dim=1).sub(parts[:, -1]).clamp_min(0.05).log(), parts[:, -1],
        parts[:, 0], parts[:, 1], mask.mean(dim=(1, 2, 3)), variance, steep,
    ]  # fmt: skip
    return torch.stack(found, dim=1).div(STEP).round() * STEP


RESIDUALS, DISTORTIONS = 16, 2


def _shape(theta: Tensor) -> list[Tensor]:
    """Distortion first, in logarithms: of the aspect, of the right angle; then zoom and turn."""
    flip = theta[:, :1, :1].sign()
    a, b = (theta[:, :, :2] * torch.cat([flip, torch.ones_like(flip)], dim=1)).unbind(dim=2)
    zoom = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs().clamp_min(1e-3).log() / 2
    aspect = (a.norm(dim=1) / b.norm(dim=1).clamp_min(1e-3)).clamp_min(1e-3).log().abs()
    shear, turn = (a * b).sum(dim=1).abs(), torch.atan2(a[:, 1] - b[:, 0], a[:, 0] + b[:, 1])
    few = [value.clamp_min(0.003).log() for value in (aspect, shear)]
    return [*few, 20 * zoom, 20 * turn.abs()]


def _explained(given: list[Tensor], target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The best sum of images and a constant, where the target is not cut off, and its parts."""
    weight = mask * ((target < WHITE) & (target > BLACK)) + 1e-3 * mask + 1e-6
    weight = weight.expand_as(target).flatten(1)[:, None]
    basis = torch.stack([*given, torch.ones_like(target)], dim=1).flatten(2)
    ridge = 1e-5 * target[0].numel() * torch.eye(basis.shape[1])
    normal = (basis * weight) @ basis.mT + ridge
    along = (basis * weight) @ target.flatten(1)[:, :, None] + ridge[:, :1]
    parts = torch.linalg.solve(normal, along)
    return (parts * basis).sum(dim=1).view_as(target), parts[:, :, 0]


def _moved(images: Tensor, theta: Tensor, mode: str = "bilinear") -> tuple[Tensor, Tensor]:
    places = _places(theta, images)
    inside = (places.abs() <= 1 - 2 * EDGE / images.shape[-1]).all(dim=3)[:, None].float()
    moved = F.grid_sample(images, places, mode, padding_mode="border", align_corners=False)
    return moved, inside


def smooth(images: Images) -> Images:
    """The mean of each pixel and its neighbors."""
    return F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def _smoother(images: Images) -> Images:
    return smooth(smooth(images))


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
