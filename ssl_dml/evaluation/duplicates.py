"""Which images are changed copies of which, by what a copy of these very images looks like.

A copy may be re-encoded, resized, cropped to 80%, turned by 5 degrees, brightened or mirrored.
Each candidate is laid over the other image. Whether what is left is that of a copy is learned from
copies made of the images themselves, and from the candidates, most of which only look alike.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from ssl_dml.evaluation.aligned import aligned, forms, smooth
from ssl_dml.evaluation.candidates import best_ways, candidates, reduced, ways
from ssl_dml.evaluation.made import CHANGES, CROPPED, changed, edited
from ssl_dml.evaluation.unexplained import (
    DISTORTIONS,
    FLOOR,
    MEASURES,
    RESIDUALS,
    STEP,
    measures,
    unexplained,
)
from ssl_dml.progress import progress
from ssl_dml.types import Images

SIDE = 64  # pixels of a thumbnail, at most
MADE, FEWEST = 2400, 600  # copies to learn from: four an image, at most and at least
LARGE = 32  # pixels a side above which half as many are enough, as each shows more
CHUNK = 256
IMAGE = (1, 3)  # channels that an image file has; others are averaged
ROUGH = 16  # pixels a side at which hopeless candidates are told
REACHED = 0.995  # of the made copies that stay candidates, at each size
SLACK = 0.3  # by which a candidate may leave more, in logarithms
BESIDE = 2  # other images that may be copies of the same one, and show nothing of look-alikes
CONFIRMED = 0.9975  # probability of a copy
FITS, ROUNDS = 3, 3
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Pairs of images that are copies of one another.

    Args:
        pairs: Rows of both, the lower one first.
        scores: Probability of a copy, if as many pairs were copies as were not.
        mirrored: Whether one is the mirror image of the other.
    """

    pairs: Int[Tensor, "pairs 2"]
    scores: Float[Tensor, " pairs"]
    mirrored: Bool[Tensor, " pairs"]


def near_duplicates(thumbnails: Images, *, threshold: float = CONFIRMED) -> Duplicates:
    """Pairs of images of which one is a changed copy of the other.

    Args:
        thumbnails: Images from 0 to 1; equal ones should be there once.
        threshold: Least probability.
    """
    pairs, way, scores = scored(thumbnails)
    best = scores.argsort(descending=True, stable=True)[: int((scores >= threshold).sum())]
    found, which = pairs[best].sort(dim=1).values.unique(dim=0, return_inverse=True)
    first = torch.full((len(found),), len(best)).scatter_reduce(
        0, which, torch.arange(len(best)), "amin"
    )
    mirrored = ways()[way[best[first]]][:, 0, 0] < 0
    return Duplicates(pairs=found, scores=scores[best[first]], mirrored=mirrored)


def scored(
    thumbnails: Images,
) -> tuple[Int[Tensor, "pairs 2"], Int[Tensor, " pairs"], Float[Tensor, " pairs"]]:
    """Candidates, the way in which each was moved, and the probability that it is a copy."""
    images = F.adaptive_avg_pool2d(thumbnails, SIDE) if thumbnails.shape[-1] > SIDE else thumbnails
    images = images if images.shape[1] in IMAGE else images.mean(dim=1, keepdim=True)
    made = _made(images)
    pairs, way = candidates(reduced(images))
    fits = _followed(images, pairs, way, made.limits)
    pairs, way = pairs[fits.rows], way[fits.rows]
    if not len(pairs):
        return pairs, way, torch.empty(0)
    rest, limit = fits.left[:, 0], made.limits[1]
    others = look_alikes(pairs, rest, len(images), BESIDE, limit)
    left = _compared(fits.left, others[pairs].amin(dim=1))
    others = look_alikes(pairs, rest, len(images), BESIDE - 1, limit)
    copies, edits = (_compared(x, others[rows]) for x, rows in (made.copies, made.edits))
    return pairs, way, _probabilities(pairs, left, copies, edits)


def look_alikes(
    pairs: Int[Tensor, "pairs 2"],
    rest: Float[Tensor, " pairs"],
    images: int,
    skipped: int,
    most: float,
) -> Float[Tensor, " images"]:
    """What images that only look like each image leave unexplained at least.

    Args:
        pairs: Rows of two images; of both orders the one that leaves less counts.
        rest: What each pair leaves.
        images: How many there are.
        skipped: Images, those that leave least, that may be copies.
        most: What is told of images with fewer pairs.

    >>> pairs, rest = torch.tensor([[0, 1], [1, 0], [0, 2]]), torch.tensor([1.0, 2.0, 3.0])
    >>> look_alikes(pairs, rest, 3, 1, 9.0)
    tensor([3., 9., 9.])
    """
    own, which = pairs.sort(dim=1).values.unique(dim=0, return_inverse=True)
    least = torch.full((len(own),), torch.inf).scatter_reduce(0, which, rest, "amin")
    row, least = own.T.flatten(), least.repeat(2)
    order = torch.from_numpy(np.lexsort((least.numpy(), row.numpy())))
    row, least = row[order], least[order]
    place = torch.arange(len(row)) - torch.searchsorted(row, row)
    found = torch.full((images,), most)
    found[row[place == skipped]] = least[place == skipped].clamp(max=most)
    return found


def _compared(
    left: Float[Tensor, "pairs measures"], others: Float[Tensor, " pairs"]
) -> Float[Tensor, "pairs more"]:
    """With one more measure, the first: how much less is left than look-alikes leave."""
    less = (left[:, 0] - others).div(STEP).round() * STEP
    return torch.cat([less[:, None], left], dim=1)


class Followed(NamedTuple):
    """What pairs leave unexplained.

    Attributes:
        rows: Which of the pairs were followed to the end.
        left: Their measures.
        rough: The part that each pair leaves on few gray pixels.
        coarse: What each leaves on 32 pixels; infinite for those that rough pixels ruled out.
    """

    rows: Int[Tensor, " followed"]
    left: Float[Tensor, "followed measures"]
    rough: Float[Tensor, " pairs"]
    coarse: Float[Tensor, " pairs"]


def _followed(
    images: Images,
    pairs: Int[Tensor, "pairs 2"],
    way: Int[Tensor, " pairs"],
    limits: tuple[float, float] = (torch.inf, torch.inf),
) -> Followed:
    """Lay each pair's images over one another, on more and more pixels.

    Args:
        images: Values from 0 to 1.
        pairs: Rows of the image that is moved, and of the other.
        way: About how it is moved.
        limits: What a pair may leave on few pixels, and on 32, to be followed further.
    """
    theta, rough = _moves(images, pairs, way)
    rows = (rough <= limits[0]).nonzero()[:, 0]
    moves, coarse = torch.empty(2, len(pairs), 2, 3), torch.full((len(pairs),), torch.inf)
    with progress(2 * len(rows), "aligning", "pairs", delay=5.0) as bar:
        for own in rows.split(CHUNK):
            source, target = (reduced(images[pairs[own, i]]) for i in (0, 1))
            some = smooth(_gray(source)), smooth(_gray(target))
            for move, form in zip(moves, forms(theta[own]), strict=True):
                move[own] = aligned(*some, theta[own], form=form, steps=1)
                coarse[own] = coarse[own].minimum(unexplained(source, target, move[own]))
            bar.update(len(own))
        rows, left = (coarse <= limits[1]).nonzero()[:, 0], list[Tensor]()
        for own in rows.split(CHUNK):
            source, target = images[pairs[own, 0]], images[pairs[own, 1]]
            fits = [
                aligned(_gray(source), _gray(target), move[own], form=form, steps=3)
                for move, form in zip(moves, forms(theta[own]), strict=True)
            ]
            left.append(measures(source, target, fits))
            bar.update(len(own))
    return Followed(rows, torch.cat([torch.empty(0, MEASURES), *left]), rough, coarse)


def _gray(images: Images) -> Float[Tensor, "batch 1 height width"]:
    return images.mean(dim=1, keepdim=True)


def _moves(
    images: Images, pairs: Int[Tensor, "pairs 2"], way: Int[Tensor, " pairs"]
) -> tuple[Float[Tensor, "pairs 2 3"], Float[Tensor, " pairs"]]:
    """The move of each pair, found on few gray pixels, and the part that it leaves unexplained."""
    gray = F.adaptive_avg_pool2d(_gray(images), ROUGH)
    contrast = gray.var(dim=(1, 2, 3), correction=0)
    theta, found = ways()[way], list[Tensor]()
    for part in torch.arange(len(pairs)).split(4 * CHUNK):
        source, target = gray[pairs[part, 0]], gray[pairs[part, 1]]
        theta[part] = aligned(smooth(source), smooth(target), theta[part], steps=4)
        rest = unexplained(source, target, theta[part])
        found.append(rest - (contrast[pairs[part, 1]] + FLOOR).log())
    return theta, torch.cat([torch.empty(0), *found])


class Made(NamedTuple):
    """What is learned of made copies.

    Attributes:
        copies: Their measures, and the row of the original of each.
        edits: The same of images that were edited, which are no copies.
        limits: What copies leave at most, of :func:`_followed`.
    """

    copies: tuple[Float[Tensor, "copies measures"], Int[Tensor, " copies"]]
    edits: tuple[Float[Tensor, "edits measures"], Int[Tensor, " edits"]]
    limits: tuple[float, float]


def _made(images: Images) -> Made:
    generator = torch.Generator().manual_seed(SEED)
    most = MADE if images.shape[-1] <= LARGE else MADE // 2
    count = min(most, max(FEWEST, 4 * len(images)))
    order = torch.cat([
        torch.randperm(len(images), generator=generator) for _ in range(-(-count // len(images)))
    ])[:count]  # fmt: skip
    originals = images[order]
    copies = changed(originals, seed=SEED)
    half = len(order) // 2
    edits, seen = edited(copies[:half], originals[half : 2 * half], seed=SEED)
    whole = torch.arange(len(order)) % len(CHANGES) != CROPPED  # a part does not explain it all
    sides = [(originals, copies), (copies[whole], originals[whole])]
    sides.append((originals[:half][seen], edits[seen]))
    found = list[Followed]()
    for source, target in sides:
        chosen, rows = best_ways(reduced(source), reduced(target)), torch.arange(len(source))
        pairs = torch.stack([rows, rows + len(rows)], dim=1)
        found.append(_followed(torch.cat([source, target]), pairs, chosen))
    there, back, other = found
    limits = [
        float(torch.cat(two).quantile(REACHED)) + SLACK
        for two in ((there.rough, back.rough), (there.coarse, back.coarse))
    ]
    return Made(
        copies=(torch.cat([there.left, back.left]), torch.cat([order, order[whole]])),
        edits=(other.left, order[:half][seen]),
        limits=(limits[0], limits[1]),
    )


def _probabilities(
    pairs: Int[Tensor, "pairs 2"],
    left: Float[Tensor, "pairs measures"],
    copies: Float[Tensor, "copies measures"],
    others: Float[Tensor, "others measures"],
) -> Float[Tensor, " pairs"]:
    """Probability of a copy, the mean of models that have not seen the pair.

    At first all candidates count as no copies. Those that are still more like made copies then
    count as nothing, and the models are fitted again.
    """
    _, own = pairs.sort(dim=1).values.unique(dim=0, return_inverse=True)  # of both directions
    generator, total = torch.Generator().manual_seed(SEED), torch.zeros(len(pairs))
    for seed in range(FITS):
        fold, copied, other = (
            torch.randint(2, (count,), generator=generator)
            for count in (int(own.max()) + 1, len(copies), len(others))
        )
        fold = fold[own]
        scores, counted = torch.zeros(len(pairs)), torch.ones(len(pairs), dtype=torch.bool)
        for _ in range(ROUNDS):
            for part in fold.unique().tolist():
                rest = torch.cat([left[counted & (fold != part)], others[other != part]])
                if not len(rest):  # nothing to tell copies from
                    continue
                model, asked = _fitted(copies[copied != part], rest, seed), fold == part
                told = model.decision_function(left[asked].numpy())
                scores[asked] = torch.from_numpy(told).float()
            counted = scores < 0
        total += scores
    return (total / FITS).sigmoid()


def _fitted(
    copies: Float[Tensor, "copies measures"], others: Float[Tensor, "others measures"], seed: int
) -> HistGradientBoostingClassifier:
    """Trees in which less that is left unexplained, or less distortion, never counts against."""
    falling = 1 + RESIDUALS + DISTORTIONS
    model = HistGradientBoostingClassifier(
        max_iter=80,
        max_leaf_nodes=12,
        min_samples_leaf=20,
        l2_regularization=1.0,
        max_features=0.5,
        monotonic_cst=[-1] * falling + [0] * (copies.shape[1] - falling),
        random_state=seed,
    )
    rows = torch.cat([copies, others]).numpy()
    balance = min(1.0, len(copies) / len(others))
    weight = np.repeat([1.0, balance], [len(copies), len(others)])
    return model.fit(rows, np.arange(len(rows)) < len(copies), sample_weight=weight)
