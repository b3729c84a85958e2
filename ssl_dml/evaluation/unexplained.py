"""What is left of one image that another one, moved, brightened and resized, does not explain."""

from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_dml.evaluation.aligned import edges, explained, moved, sharply, smooth
from ssl_dml.types import Images

FLOOR = 1e-5  # squared difference that nobody sees, of values up to 1
STEP = 0.2  # of the logarithms
LEAST = 0.5  # part of the target that a move must explain
UNLIKE = 2.0  # such a logarithm where nothing was tried
UNMOVED = 0.06  # farthest from no move at all, where an image is from -1 to 1


def unexplained(
    source: Images, target: Images, theta: Float[Tensor, "batch 2 3"]
) -> Float[Tensor, " batch"]:
    """Logarithm of the mean squared difference that is left, with a floor of 1e-5.

    Args:
        source: Images from 0 to 1.
        target: As many.
        theta: Where each target takes its pixels from, in the source.
    """
    seen, mask = moved(source, theta, mode="bicubic")
    sharp = sharply(source, theta)
    light, _ = explained([seen, sharp, smooth(seen), _smoother(seen)], target, mask)
    part = mask.mean(dim=(1, 2, 3))
    rest = ((target - light.clamp(0, 1)).square() * mask).mean(dim=(1, 2, 3))
    return (rest / part.clamp_min(1e-3) + FLOOR).log() + 3.0 * (part < LEAST)


def resized_rest(
    source: Images, target: Images, mirrored: Bool[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """What is :func:`unexplained` by the source made smaller, to at least half, and large again.

    Args:
        source: Images from 0 to 1.
        target: As many.
        mirrored: Whether each source is mirrored before.
    """
    source = torch.where(mirrored[:, None, None, None], source.flip(3), source)
    trips, whole = _round_trips(source.shape[-1]), torch.ones_like(target[:, :1])
    gray, other = source.mean(dim=1, keepdim=True), target.mean(dim=1, keepdim=True)
    best = torch.stack([_rest(trip @ gray @ trip.mT, other, whole) for trip in trips]).argmin(dim=0)
    trip = trips[best][:, None]
    return (_rest(trip @ source @ trip.mT, target, whole) + FLOOR).log()


def _rest(seen: Images, target: Images, mask: Tensor) -> Tensor:
    light, _ = explained([seen], target, mask)
    return (target - light.clamp(0, 1)).square().mean(dim=(1, 2, 3))


@cache
def _round_trips(side: int) -> Float[Tensor, "sizes side side"]:
    """For each size, the linear map of a line of pixels to that size and back."""
    line, found = torch.eye(side)[None, None], list[Tensor]()
    for small in range(max(1, side // 2), side):
        there = F.interpolate(line, (small, side), mode="bicubic", antialias=True)
        back = F.interpolate(there, (side, side), mode="bicubic", antialias=True)
        found.append(back[0, 0])
    return torch.stack(found)


def measures(
    source: Images, target: Images, fits: list[Float[Tensor, "batch 2 3"]]
) -> Float[Tensor, "batch measures"]:
    """What tells a changed copy from an image that only looks like one.

    First come :data:`RESIDUALS` measures of what the moved, brightened and resized source leaves
    unexplained, of which less is more like a copy, the least of all ways first; then how the source
    was changed for that.

    Args:
        source: Images from 0 to 1.
        target: As many.
        fits: Where each target may take its pixels from; the one that explains most counts.
    """
    theta, rest, resized = _best(source, target, fits)
    seen, mask = moved(source, theta, mode="bicubic")
    light, parts = explained([seen, smooth(seen), _smoother(seen)], target, mask)
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
    left = (target - light) * mask
    all_, coarse, coarser = energy(left), energy(smooth(left)), energy(_smoother(_smoother(left)))
    variance, steep = log(mean(energy(target - center))), log(mean(slope))
    detail, own = (target - _smoother(target)) * mask, (light - _smoother(light)) * mask
    norm = (detail.square().sum(dim=(1, 2, 3)) * own.square().sum(dim=(1, 2, 3))).sqrt()
    alike = ((detail * own).sum(dim=(1, 2, 3)) + 1e-2) / (norm + 1e-2)
    found = [
        rest.minimum(resized), rest, resized,
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


RESIDUALS, DISTORTIONS, MEASURES = 19, 2, 30


def _best(
    source: Images, target: Images, fits: list[Float[Tensor, "batch 2 3"]]
) -> tuple[Tensor, Tensor, Tensor]:
    """The move that leaves least, what it leaves, and what no move but another size leaves."""
    still = torch.zeros_like(fits[0])
    still[:, 0, 0], still[:, 1, 1] = fits[0][:, 0, 0].sign(), 1
    away = torch.stack([(fit - still).abs().amax(dim=(1, 2)) for fit in fits])
    near = away.amin(dim=0) < UNMOVED
    rests = torch.full((len(fits) + 1, len(still)), UNLIKE)
    resized = rests[0].clone()
    for rest, fit in zip(rests, fits, strict=False):
        rest[:] = unexplained(source, target, fit)
    if near.any():
        images, others, same = source[near], target[near], still[near]
        rests[-1, near] = unexplained(images, others, same)
        resized[near] = resized_rest(images, others, same[:, 0, 0] < 0)
    rest, best = rests.min(dim=0)
    return torch.stack([*fits, still])[best, torch.arange(len(best))], rest, resized


def _shape(theta: Tensor) -> list[Tensor]:
    """Distortion first, in logarithms: of the aspect, of the right angle; then zoom and turn."""
    flip = theta[:, :1, :1].sign()
    a, b = (theta[:, :, :2] * torch.cat([flip, torch.ones_like(flip)], dim=1)).unbind(dim=2)
    zoom = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs().clamp_min(1e-3).log() / 2
    aspect = (a.norm(dim=1) / b.norm(dim=1).clamp_min(1e-3)).clamp_min(1e-3).log().abs()
    shear, turn = (a * b).sum(dim=1).abs(), torch.atan2(a[:, 1] - b[:, 0], a[:, 0] + b[:, 1])
    few = [value.clamp_min(0.003).log() for value in (aspect, shear)]
    return [*few, 20 * zoom, 20 * turn.abs()]


def _smoother(images: Images) -> Images:
    return smooth(smooth(images))
