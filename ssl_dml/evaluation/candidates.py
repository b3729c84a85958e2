"""Which pairs of images may be copies: the most alike by a small descriptor, over all changes."""

from typing import NamedTuple

import faiss
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.evaluation.aligned import edges, place, warped
from ssl_dml.evaluation.copies import indexed
from ssl_dml.types import Images

SIDE = 32  # pixels of an image here
CELLS = 16  # of a descriptor, a side
DIM = 64
CHUNK = 2048
LEARNED = 4096  # images that the descriptor is learned from
NEAR = 3  # candidates of an image for each way of changing it
LOOKED_AT = 64  # of an image over all ways, each in the way that makes it nearest
KEPT = 5  # candidates of an image over all ways
FEW = 2000  # images that are compared all with all
UNLIKE = 0.6  # squared distance of candidates, of vectors of length 1
CROP, TURN = 0.8, 5.0


class Candidates(NamedTuple):
    """Pairs that may be copies.

    Attributes:
        pairs: Rows of the image that was moved, and of the one that is like it then.
        ways: Number of the way in which it was moved, of :func:`ways`.
    """

    pairs: Int[Tensor, "pairs 2"]
    ways: Int[Tensor, " pairs"]


def ways() -> Float[Tensor, "ways 2 3"]:
    """How an image may have been changed: where each way takes its pixels from.

    As it is, cropped at 16 places, turned both ways; and all that mirrored.
    """
    plain = [torch.eye(2, 3)]
    shifts = torch.linspace(CROP - 1, 1 - CROP, 4)
    plain += [torch.tensor([[CROP, 0, x], [0, CROP, y]]) for x in shifts for y in shifts]
    for angle in torch.deg2rad(torch.tensor([-TURN, TURN])):
        cos, sin = float(angle.cos()), float(angle.sin())
        plain.append(torch.tensor([[cos, -sin, 0], [sin, cos, 0]]))
    straight = torch.stack(plain)
    return torch.cat([straight, straight * torch.tensor([[-1.0], [1.0]])])


def reduced(images: Images) -> Float[Tensor, "batch channels rows columns"]:
    """Images of at most 32 pixels a side."""
    return F.adaptive_avg_pool2d(images, SIDE) if images.shape[-1] > SIDE else images


def candidates(images: Images) -> Candidates:
    """Pairs of images that may be copies; of each image at most 5, the most alike over all ways.

    Args:
        images: As :func:`reduced` leaves them.
    """
    described, gray = Descriptor(images), images.mean(dim=1, keepdim=True)
    coarse = torch.cat([_coarse(part).flatten(1) for part in gray.split(CHUNK)])
    index = indexed(described(coarse).numpy(), exact_below=FEW)
    far = torch.empty(len(images), 0)
    others, chosen = (torch.empty(len(images), 0, dtype=torch.long) for _ in range(2))
    for number, way in enumerate(ways()):
        found = [
            _nearest(index, described(_coarse(warped(part, way)).flatten(1)))
            for part in gray.split(CHUNK)
        ]
        near = torch.cat([rows for _, rows in found])
        itself = (near == torch.arange(len(near))[:, None]) | (near < 0)
        more = torch.cat([distance for distance, _ in found]).masked_fill(itself, torch.inf)
        far, others = torch.cat([far, more], dim=1), torch.cat([others, near], dim=1)
        chosen = torch.cat([chosen, torch.full_like(near, number)], dim=1)
        far, order = far.topk(min(LOOKED_AT, far.shape[1]), dim=1, largest=False)
        others, chosen = others.gather(1, order), chosen.gather(1, order)
    unlike = torch.full_like(far, torch.inf)
    for number, way in enumerate(ways()):
        for at in ((chosen == number) & far.isfinite()).nonzero().split(CHUNK):
            if not len(at):
                continue
            own, place_ = at.unbind(dim=1)
            moved = _coarse(warped(gray[own], way))
            unlike[own, place_] = _unlikeness(moved, coarse[others[own, place_], None])[:, 0]
    unlike, order = unlike.sort(dim=1)
    others, chosen = others.gather(1, order), chosen.gather(1, order)
    again = (others[:, :, None] == others[:, None]).tril(-1).any(2)  # in a better way before
    unlike, order = unlike.masked_fill(again, torch.inf).sort(dim=1)
    kept = unlike[:, :KEPT] <= UNLIKE
    others, chosen = (x.gather(1, order)[:, :KEPT][kept] for x in (others, chosen))
    return Candidates(torch.stack([kept.nonzero()[:, 0], others], dim=1), chosen)


def _nearest(
    index: faiss.Index, described: Float[Tensor, "batch dim"]
) -> tuple[Float[Tensor, "batch near"], Int[Tensor, "batch near"]]:
    far, rows = index.search(described.numpy(), NEAR + 1)  # pyright: ignore[reportCallIssue]
    return torch.from_numpy(far), torch.from_numpy(rows)


def best_ways(originals: Images, copies: Images) -> Int[Tensor, " batch"]:
    """The way in which each original is most like its copy."""
    coarse = _coarse(copies).flatten(1)[:, None]
    far = [_unlikeness(_coarse(warped(originals, way)), coarse)[:, 0] for way in ways()]
    return torch.stack(far, dim=1).argmin(dim=1)


def _unlikeness(
    moved: Images, others: Float[Tensor, "batch some cells"]
) -> Float[Tensor, "batch some"]:
    """What of the squared distance is left after the best small move, by the slopes of an image."""
    slopes = torch.cat(edges(moved), dim=1)[:, :, None] * place(CELLS)
    slopes = slopes.view(len(moved), 6, -1)
    rest = others - moved.flatten(1)[:, None]
    normal = slopes @ slopes.mT
    scale = normal.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-6  # a blank image has no slopes
    normal += 0.02 * scale[:, None, None] * torch.eye(6)
    along = slopes @ rest.mT
    return rest.square().sum(2) - (along * torch.linalg.solve(normal, along)).sum(1)


class Descriptor:
    """A linear descriptor that tells images apart better than an image from its slight changes.

    It is learned from some of the images and slight changes of them, by Fisher's discriminant.
    Of a slightly changed image the squared distance is :attr:`noise` on average.
    """

    def __init__(self, images: Images) -> None:
        generator = torch.Generator().manual_seed(0)
        some = images[torch.randperm(len(images), generator=generator)[:LEARNED]]
        plain, within = _coarse(some).flatten(1), torch.zeros(CELLS * CELLS, CELLS * CELLS)
        for half in (False, True, False, True):
            change = torch.randn(len(some), 2, 3, generator=generator) * 0.04
            moved = warped(some, torch.eye(2, 3) + change)
            scale = 1 + 0.2 * torch.rand(len(some), 1, 1, 1, generator=generator)
            if half:
                moved = F.interpolate(
                    F.avg_pool2d(moved, 2, ceil_mode=True), moved.shape[2:], mode="bilinear"
                )
            other = _coarse((moved * scale).clamp(max=1.0)).flatten(1) - plain
            within += other.T @ other / (4 * len(some))
        within += 1e-3 * within.diagonal().mean() * torch.eye(len(within))
        root = torch.linalg.cholesky(within)
        centered = plain - plain.mean(dim=0)
        white = torch.linalg.solve_triangular(root, centered.T, upper=False)
        _, vectors = torch.linalg.eigh(white @ white.T)
        kept = vectors[:, -DIM:]
        self._project = torch.linalg.solve_triangular(root.T, kept, upper=True)
        self.noise = float((within @ self._project * self._project).sum())

    def __call__(self, coarse: Float[Tensor, "batch cells"]) -> Float[Tensor, "batch dim"]:
        """Describe images that :func:`_coarse` has reduced."""
        return coarse @ self._project


def _coarse(images: Images) -> Float[Tensor, "batch 1 cells cells"]:
    """Gray at 16 x 16 places, without brightness and contrast."""
    gray = F.adaptive_avg_pool2d(images.mean(dim=1, keepdim=True), CELLS)
    gray = gray - gray.mean(dim=(2, 3), keepdim=True)
    return gray / (gray.square().sum(dim=(2, 3), keepdim=True).sqrt() + 0.1)
