"""Which images are changed copies of which, by what a copy of these very images looks like.

A copy may be re-encoded, resized, cropped to 80%, turned by 5 degrees, brightened or mirrored.
Each candidate is laid over the other image. Whether what is left is that of a copy is learned from
copies made of the images themselves, and from the candidates, most of which only look alike.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from ssl_dml.evaluation.aligned import DISTORTIONS, RESIDUALS, aligned, measures, smooth
from ssl_dml.evaluation.candidates import best_ways, candidates, reduced, ways
from ssl_dml.evaluation.made import CHANGES, CROPPED, changed, edited
from ssl_dml.progress import progress
from ssl_dml.types import Images

SIDE = 48  # pixels of a thumbnail, at most
MADE, FEWEST = 2400, 600  # copies to learn from: four an image, at most and at least
CHUNK = 256
IMAGE = (1, 3)  # channels that an image file has; others are averaged
ROUGH = 16  # pixels a side at which hopeless candidates are told
RELATIVE = 1  # column of the logarithm of the part that is left unexplained
REACHED = 0.99  # of the made copies that stay candidates
SLACK = 0.4  # by which a candidate may leave more, in logarithms
CONFIRMED = 0.99  # probability of a copy
ROUNDS, EVEN = 3, 0.5
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
    copies, others, farthest = _learned(images)
    pairs, way = candidates(reduced(images))
    theta, rough = _moves(images, pairs, way)
    near = rough <= farthest
    pairs, way, theta = pairs[near], way[near], theta[near]
    if not near.any():
        return pairs, way, torch.empty(0)
    return pairs, way, _probabilities(pairs, _left(images, pairs, theta), copies, others)


def _moves(
    images: Images, pairs: Int[Tensor, "pairs 2"], way: Int[Tensor, " pairs"]
) -> tuple[Float[Tensor, "pairs 2 3"], Float[Tensor, " pairs"]]:
    """The move of each pair, found on few gray pixels, and the part that it leaves unexplained."""
    gray = F.adaptive_avg_pool2d(images.mean(dim=1, keepdim=True), ROUGH)
    theta, found = ways()[way], list[Tensor]()
    for first in range(0, len(pairs), 4 * CHUNK):
        part = slice(first, first + 4 * CHUNK)
        source, target = gray[pairs[part, 0]], gray[pairs[part, 1]]
        theta[part] = aligned(smooth(source), smooth(target), theta[part], steps=4)
        found.append(measures(source, target, theta[part])[:, RELATIVE])
    return theta, torch.cat([torch.empty(0), *found])


def _left(
    images: Images, pairs: Int[Tensor, "pairs 2"], theta: Float[Tensor, "pairs 2 3"]
) -> Float[Tensor, "pairs measures"]:
    """Measures of each pair of rows, after the move is improved."""
    found = list[Tensor]()
    with progress(len(pairs), "aligning", "pairs", delay=5.0) as bar:
        for rows, start in zip(pairs.split(CHUNK), theta.split(CHUNK), strict=True):
            source, target = images[rows[:, 0]], images[rows[:, 1]]
            small, other = reduced(source), reduced(target)
            move = aligned(smooth(small), smooth(other), start, steps=3)
            found.append(measures(source, target, aligned(small, other, move, steps=3)))
            bar.update(len(rows))
    return torch.cat(found)


def _learned(
    images: Images,
) -> tuple[Float[Tensor, "copies measures"], Float[Tensor, "others measures"], float]:
    """Measures of made copies and of made others, and how much a copy may leave unexplained."""
    generator = torch.Generator().manual_seed(SEED)
    count = min(MADE, max(FEWEST, 4 * len(images)))
    order = torch.cat([
        torch.randperm(len(images), generator=generator) for _ in range(-(-count // len(images)))
    ])[:count]  # fmt: skip
    originals = images[order]
    copies = changed(originals, seed=SEED)
    half = len(order) // 2
    edits, seen = edited(copies[:half], originals[half : 2 * half], seed=SEED)
    whole = torch.arange(len(order)) % len(CHANGES) != CROPPED  # a part does not explain it all
    sides = [(originals, copies), (copies[whole], originals[whole]), (originals[:half], edits)]
    found, left = list[Tensor](), list[Tensor]()
    for source, target in sides:
        chosen = best_ways(reduced(source), reduced(target))
        rows = torch.arange(len(source))
        pairs, both = torch.stack([rows, rows + len(rows)], dim=1), torch.cat([source, target])
        theta, rough = _moves(both, pairs, chosen)
        found.append(_left(both, pairs, theta))
        left.append(rough)
    farthest = float(torch.cat(left[:2]).quantile(REACHED)) + SLACK
    return torch.cat(found[:2]), found[2][seen], farthest


def _probabilities(
    pairs: Int[Tensor, "pairs 2"],
    left: Float[Tensor, "pairs measures"],
    copies: Float[Tensor, "copies measures"],
    others: Float[Tensor, "others measures"],
) -> Float[Tensor, " pairs"]:
    """Probability of a copy, from models that have not seen the pair.

    At first all candidates count as no copies. Those that are still more like made copies then
    count as nothing, and the models are fitted again.
    """
    own = pairs.sort(dim=1).values
    fold = (own[:, 0] * 7919 + own[:, 1]) % 2  # the same for both directions
    scores, counted = torch.zeros(len(pairs)), torch.ones(len(pairs), dtype=torch.bool)
    for _ in range(ROUNDS):
        for part in range(2):
            rest = torch.cat([left[counted & (fold != part)], others[part::2]])
            asked = fold == part
            if asked.any():
                model = _fitted(copies[part::2], rest)
                told = model.predict_proba(left[asked].numpy())[:, 1]
                scores[asked] = torch.from_numpy(told).float()
        counted = scores < EVEN
    return scores


def _fitted(
    copies: Float[Tensor, "copies measures"], others: Float[Tensor, "others measures"]
) -> HistGradientBoostingClassifier:
    """Trees in which less that is left unexplained, or less distortion, never counts against."""
    falling = RESIDUALS + DISTORTIONS
    model = HistGradientBoostingClassifier(
        max_iter=80,
        max_leaf_nodes=12,
        min_samples_leaf=20,
        l2_regularization=1.0,
        monotonic_cst=[-1] * falling + [0] * (copies.shape[1] - falling),
        random_state=SEED,
    )
    rows = torch.cat([copies, others]).numpy()
    weight = np.repeat([1.0, len(copies) / len(others)], [len(copies), len(others)])
    return model.fit(rows, np.arange(len(rows)) < len(copies), sample_weight=weight)
