"""Every loss that pytorch-metric-learning has too, value and gradients, on random inputs.

The last line of ``pytest tests/test_against_pml.py`` counts losses times inputs.
"""

import math
import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from public_forms import PlainContrastive, dense_smooth_ap
from torch.func import functional_call
from torch.testing import assert_close

from ssl_dml.heads import PairHead, ProxyAnchor, ProxyNCA, SoftTriple
from ssl_dml.losses import (
    Circle,
    Contrastive,
    GeneralizedLifted,
    Lifted,
    MultiSimilarity,
    NPair,
    Triplet,
    nt_xent,
    supcon,
)
from ssl_dml.margins import ArcFace, CosFace, NormalizedSoftmax, SphereFace, whole_batch
from ssl_dml.mining import BatchHard, Easy, Hard, MultiSimilarityMiner, SemiHard

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pytorch_metric_learning import distances, losses, miners, reducers, regularizers

INPUTS = 10
RAW = distances.LpDistance(normalize_embeddings=False)
SQUARED = distances.LpDistance(normalize_embeddings=False, power=2)
DOT = distances.DotProductSimilarity(normalize_embeddings=False)
MEAN, SUM = reducers.MeanReducer(), reducers.SumReducer()


# Each side is a function of rows, labels, weights of the classes and how many these are.
def ours(loss, miner=None):
    def value(rows, labels, *_):
        return loss(rows, labels, None, miner and miner(rows.detach(), labels))

    return value


def theirs(loss, miner=None):
    def value(rows, labels, *_):
        return loss(rows, labels, miner and miner(rows.detach(), labels))

    return value


def head(loss):
    """Of rows that the head normalizes, as that library does unless told otherwise."""
    return lambda rows, labels, *_: PairHead(rows.shape[1], 1, loss=loss)(rows, labels).loss


def two_views(loss):
    return lambda rows, *_: loss(rows[0::2], rows[1::2])


def as_views(loss):
    return lambda rows, *_: loss(rows, torch.arange(len(rows)) // 2)


def margin(build):
    """On whole class weights."""

    def value(rows, labels, weights, _):
        cosines = F.normalize(rows, dim=1) @ F.normalize(weights, dim=1).T
        logits, penalty = build().eval()(cosines, whole_batch(cosines, labels, rows.norm(dim=1)))
        return F.cross_entropy(logits, labels) + penalty

    return value


def proxies(build):
    def value(rows, labels, weights, classes):
        made = build(rows.shape[1], classes)
        return functional_call(made, {"proxies": weights}, (rows, labels)).loss

    return value


def weighted(build, name, *, columns=False):
    """Theirs, with its weights under its name for them."""

    def value(rows, labels, weights, classes):
        made = build(classes, rows.shape[1])
        given = weights.T if columns else weights
        return functional_call(made, {name: given}, (rows, labels))

    return value


def merging(classes, dim):
    term = regularizers.SparseCentersRegularizer(classes, 3)
    return losses.SoftTripleLoss(
        classes, dim, centers_per_class=3, weight_regularizer=term, weight_reg_weight=0.2
    )


class SquaredContrastive(losses.ContrastiveLoss):
    """Theirs with squares, as in the paper and here."""

    def pos_calc(self, *pairs):
        return super().pos_calc(*pairs).square() / 2

    def neg_calc(self, *pairs):
        return super().neg_calc(*pairs).square() / 2


PAIRS = {
    "contrastive": (
        ours(Contrastive(reduction="kinds")),
        theirs(SquaredContrastive(distance=RAW, reducer=MEAN)),
    ),
    "contrastive_wide": (
        ours(Contrastive(reduction="kinds", margin=2.0)),
        theirs(SquaredContrastive(neg_margin=2, distance=RAW, reducer=MEAN)),
    ),
    "contrastive_plain": (
        ours(PlainContrastive(non_zero=True)),
        theirs(losses.ContrastiveLoss(distance=RAW)),
    ),
    "contrastive_mean": (
        ours(PlainContrastive(margin=2.0)),
        theirs(losses.ContrastiveLoss(neg_margin=2, distance=RAW, reducer=MEAN)),
    ),
    "contrastive_default": (
        head(PlainContrastive(non_zero=True)),
        theirs(losses.ContrastiveLoss()),
    ),
    "triplet": (
        ours(Triplet()),
        theirs(losses.TripletMarginLoss(margin=0.2, distance=RAW, reducer=MEAN)),
    ),
    "triplet_default": (
        head(Triplet(margin=0.05, reduction="non_zero")),
        theirs(losses.TripletMarginLoss()),
    ),
    "triplet_soft": (
        ours(Triplet(margin=None)),
        theirs(losses.TripletMarginLoss(margin=0, smooth_loss=True, distance=RAW, reducer=MEAN)),
    ),
    "triplet_squared": (
        ours(Triplet(distance="squared", margin=1.0, reduction="non_zero")),
        theirs(losses.TripletMarginLoss(margin=1.0, distance=SQUARED)),
    ),
    "triplet_cosine": (
        ours(Triplet(distance="cosine", reduction="sum")),
        theirs(
            losses.TripletMarginLoss(margin=0.2, distance=distances.CosineSimilarity(), reducer=SUM)
        ),
    ),
    "triplet_dot": (
        ours(Triplet(distance="dot", margin=0.5)),
        theirs(losses.TripletMarginLoss(margin=0.5, distance=DOT, reducer=MEAN)),
    ),
    "triplet_batch_hard": (
        ours(Triplet(), BatchHard()),
        theirs(
            losses.TripletMarginLoss(margin=0.2, distance=RAW, reducer=MEAN),
            miners.BatchHardMiner(distance=RAW),
        ),
    ),
    **{
        f"triplet_{name}": (
            ours(Triplet(margin=0.5), miner),
            theirs(
                losses.TripletMarginLoss(margin=0.5, distance=RAW, reducer=MEAN),
                miners.TripletMarginMiner(margin=0.3, type_of_triplets=name, distance=RAW),
            ),
        )
        for name, miner in {
            "easy": Easy(margin=0.3),
            "semihard": SemiHard(margin=0.3),
            "hard": Hard(),
        }.items()
    },
    "lifted": (
        ours(Lifted()),
        theirs(losses.LiftedStructureLoss(distance=RAW, reducer=MEAN)),
    ),
    "lifted_default": (head(Lifted()), theirs(losses.LiftedStructureLoss(reducer=MEAN))),
    "lifted_generalized": (
        ours(GeneralizedLifted()),
        theirs(losses.GeneralizedLiftedStructureLoss(distance=RAW, reducer=MEAN)),
    ),
    "multi_similarity": (ours(MultiSimilarity()), theirs(losses.MultiSimilarityLoss())),
    "multi_similarity_mined": (
        ours(MultiSimilarity(), MultiSimilarityMiner(epsilon=0.1)),
        theirs(losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner(epsilon=0.1)),
    ),
    "circle": (ours(Circle(margin=0.4, scale=80.0)), theirs(losses.CircleLoss())),
    "circle_of_faces": (ours(Circle()), theirs(losses.CircleLoss(m=0.25, gamma=256))),
    "supcon": (
        lambda rows, labels, *_: supcon(rows[None], labels, temperature=0.1),
        theirs(losses.SupConLoss()),
    ),
    "nt_xent": (
        two_views(partial(nt_xent, temperature=0.2)),
        as_views(losses.NTXentLoss(temperature=0.2)),
    ),
}
# Theirs are right only where each class has as many rows, one class after another.
EVEN = {
    "n_pair": (ours(NPair(l2=0.0)), theirs(losses.NPairsLoss(distance=DOT))),
    "n_pair_default": (head(NPair(l2=0.0)), theirs(losses.NPairsLoss())),
    "smooth_ap": (
        lambda rows, labels, *_: dense_smooth_ap(rows, labels, count_query=True),
        theirs(losses.SmoothAPLoss()),
    ),
}
CLASSES = {
    "softmax": (
        margin(lambda: NormalizedSoftmax(scale=20.0)),
        weighted(losses.NormalizedSoftmaxLoss, "W", columns=True),
    ),
    "cosface": (
        margin(lambda: CosFace(scale=30.0)),
        weighted(partial(losses.CosFaceLoss, margin=0.35, scale=30), "W", columns=True),
    ),
    "arcface": (
        margin(lambda: ArcFace(scale=30.0, beyond_pi="monotone")),
        weighted(
            partial(losses.ArcFaceLoss, margin=math.degrees(0.5), scale=30), "W", columns=True
        ),
    ),
    "sphereface": (
        margin(lambda: SphereFace(factor=3, lambda_start=0.0, lambda_min=0.0)),
        weighted(partial(losses.SphereFaceLoss, margin=3, scale=1), "W", columns=True),
    ),
    "proxy_nca": (
        proxies(partial(ProxyNCA, temperature=1.0)),
        weighted(losses.ProxyNCALoss, "proxies"),
    ),
    "proxy_nca_sharp": (
        proxies(ProxyNCA),
        weighted(partial(losses.ProxyNCALoss, softmax_scale=9), "proxies"),
    ),
    "proxy_anchor": (proxies(ProxyAnchor), weighted(losses.ProxyAnchorLoss, "proxies")),
}
CENTERS = {
    "soft_triple": (
        proxies(partial(SoftTriple, centers=3, weight=0.0)),
        weighted(partial(losses.SoftTripleLoss, centers_per_class=3), "fc", columns=True),
    ),
    "soft_triple_merging": (
        proxies(partial(SoftTriple, centers=3)),
        weighted(merging, "fc", columns=True),
    ),
}
PEERS = {**PAIRS, **EVEN, **CLASSES, **CENTERS}


def inputs(name, seed):
    """Rows of 2 to 9 classes with 1 to 5 of each, their labels, and weights of the classes."""
    torch.manual_seed(seed)
    classes, dim = (2, 3, 6, 9)[seed % 4], (3, 5, 16)[seed % 3]
    # Theirs is the generalized form only where each row has another of its class.
    counts = torch.randint(2 if name == "lifted_generalized" else 1, 6, (classes,))
    counts[0] = 4
    if name in EVEN:
        counts[:] = 2 if name.startswith("n_pair") else classes
    labels = torch.arange(classes).repeat_interleave(counts)
    if name not in EVEN:
        labels = labels[torch.randperm(len(labels))]
    count = 2 * classes if name == "nt_xent" else len(labels)
    rows = 0.6 * torch.randn(count, dim, dtype=torch.float64)
    weights = torch.randn(classes * (3 if name in CENTERS else 1), dim, dtype=torch.float64)
    return rows.requires_grad_(), labels, weights.requires_grad_(), classes


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("seed", range(INPUTS))
def test_is_that_of_pytorch_metric_learning(name, seed):
    arguments = inputs(name, seed)
    given = arguments[0:3:2] if name in {**CLASSES, **CENTERS} else arguments[:1]
    values = [side(*arguments) for side in PEERS[name]]
    (own, gradients), (other, expected) = (
        (value.double(), torch.autograd.grad(value, given)) for value in values
    )
    # Theirs computes Smooth-AP in float32.
    bounds = {"rtol": 1e-5, "atol": 1e-6} if name == "smooth_ap" else {"rtol": 1e-7, "atol": 1e-9}
    assert_close(own, other, **bounds)
    assert_close(gradients, expected, **bounds)
    assert any(gradient.abs().max() > 0 for gradient in gradients)
