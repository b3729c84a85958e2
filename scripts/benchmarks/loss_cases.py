"""Losses as they are set up here and in pytorch-metric-learning, so that both are the same."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ssl_dml.heads import CenterLoss, Head, MarginSoftmax, ProxyAnchor, ProxyNCA, SoftTriple
from ssl_dml.losses import (
    Circle,
    Contrastive,
    FacilityLocation,
    GeneralizedLifted,
    Lifted,
    MultiSimilarity,
    NPair,
    PairLoss,
    SmoothAP,
    Triplet,
    nt_xent,
    supcon,
)
from ssl_dml.losses.tiles import TILE
from ssl_dml.margins import (
    AdaCos,
    AdaFace,
    ArcFace,
    CosFace,
    CurricularFace,
    MagFace,
    Margin,
    NormalizedSoftmax,
    SphereFace,
)
from ssl_dml.mining import BatchHard, Miner, MultiSimilarityMiner, SemiHard

Loss = Callable[[Tensor, Tensor], Tensor]
Side = Literal["ours", "theirs"]


class Case(NamedTuple):
    """A loss on both sides, each built for a number of classes and a dimension.

    Attributes:
        ours: Builds this toolkit's.
        theirs: Builds the other's from its package; None where it has none.
        of_each: Rows of a class; 0 for as many as there are classes.
        classes: Classes at least, of which a batch has some.
        equal: Whether both have the same value.
    """

    ours: Callable[[int, int], Loss]
    theirs: Callable[..., Loss] | None = None
    of_each: int = 4
    classes: int = 0
    equal: bool = True


def loss_of(name: str, side: Side, classes: int, dim: int) -> Loss:
    """A loss of one side."""
    torch.manual_seed(0)
    case = CASES[name]
    if side == "ours" or case.theirs is None:
        return case.ours(classes, dim)
    import pytorch_metric_learning as library
    import pytorch_metric_learning.distances
    import pytorch_metric_learning.losses
    import pytorch_metric_learning.miners
    import pytorch_metric_learning.reducers

    return case.theirs(library, classes, dim)


def _pairs(loss: PairLoss, miner: Miner | None = None) -> Callable[[int, int], Loss]:
    def value(rows: Tensor, labels: Tensor) -> Tensor:
        mined = None if miner is None else miner(rows.detach(), labels)
        return loss(rows, labels, None, mined)

    return lambda *_: value


def _head(build: Callable[[int, int], Head]) -> Callable[[int, int], Loss]:
    def make(classes: int, dim: int) -> Loss:
        head = build(dim, classes)
        return lambda rows, labels: head(rows, labels).loss

    return make


def _weighted(
    name: str,
    weights: Callable[[int, int], Tensor],
    **options: float | int,  # beartype takes float at its word
) -> Callable[..., Loss]:
    """One of theirs that starts with the weights that ours starts with."""

    def make(library: Any, classes: int, dim: int) -> Loss:  # noqa: ANN401
        first = weights(dim, classes).detach()
        return getattr(library.losses, name)(
            classes, dim, weight_init_func=lambda own: own.data.copy_(first), **options
        )

    return make


def _columns(margin: Margin) -> Callable[[int, int], Tensor]:
    return lambda dim, classes: MarginSoftmax(dim, classes, margin=margin).weight[:, 0].T


def _raw(library: Any) -> dict[str, Any]:  # noqa: ANN401
    """Distances of rows as they are, and the mean over everything, which are not its defaults."""
    distance = library.distances.LpDistance(normalize_embeddings=False)
    return {"distance": distance, "reducer": library.reducers.MeanReducer()}


def _squared(library: Any) -> Any:  # noqa: ANN401
    """Their contrastive loss with squares as in its paper, and as here."""
    base = library.losses.ContrastiveLoss
    return type(
        "Squared",
        (base,),
        {
            "pos_calc": lambda self, *pairs: base.pos_calc(self, *pairs).square() / 2,
            "neg_calc": lambda self, *pairs: base.neg_calc(self, *pairs).square() / 2,
        },
    )


def _mined(loss: Loss, miner: Any) -> Loss:  # noqa: ANN401
    def value(rows: Tensor, labels: Tensor) -> Tensor:
        return loss(rows, labels, miner(rows.detach(), labels))  # pyright: ignore[reportCallIssue]

    return value


def _as_views(loss: Loss) -> Loss:
    return lambda rows, labels: loss(rows, torch.arange(len(labels)) // 2)


CASES = {
    "contrastive": Case(
        _pairs(Contrastive(reduction="kinds")),
        lambda library, *_: _squared(library)(**_raw(library)),
    ),
    "contrastive_hadsell": Case(_pairs(Contrastive())),
    "triplet": Case(
        _pairs(Triplet()),
        lambda library, *_: library.losses.TripletMarginLoss(margin=0.2, **_raw(library)),
    ),
    "triplet_soft": Case(
        _pairs(Triplet(margin=None)),
        lambda library, *_: library.losses.TripletMarginLoss(
            margin=0, smooth_loss=True, **_raw(library)
        ),
    ),
    "triplet_batch_hard": Case(
        _pairs(Triplet(), BatchHard()),
        lambda library, *_: _mined(
            library.losses.TripletMarginLoss(margin=0.2, **_raw(library)),
            library.miners.BatchHardMiner(distance=_raw(library)["distance"]),
        ),
    ),
    "triplet_semi_hard": Case(
        _pairs(Triplet(), SemiHard()),
        lambda library, *_: _mined(
            library.losses.TripletMarginLoss(margin=0.2, **_raw(library)),
            library.miners.TripletMarginMiner(
                margin=0.2, type_of_triplets="semihard", distance=_raw(library)["distance"]
            ),
        ),
    ),
    "lifted": Case(
        _pairs(Lifted()), lambda library, *_: library.losses.LiftedStructureLoss(**_raw(library))
    ),
    "lifted_generalized": Case(
        _pairs(GeneralizedLifted()),
        lambda library, *_: library.losses.GeneralizedLiftedStructureLoss(**_raw(library)),
    ),
    "n_pair": Case(
        _pairs(NPair(l2=0.0)),
        lambda library, *_: library.losses.NPairsLoss(
            distance=library.distances.DotProductSimilarity(normalize_embeddings=False)
        ),
        of_each=2,
    ),
    "n_pair_one": Case(_pairs(NPair(against="one"))),
    "multi_similarity": Case(
        _pairs(MultiSimilarity()), lambda library, *_: library.losses.MultiSimilarityLoss()
    ),
    "multi_similarity_mined": Case(
        _pairs(MultiSimilarity(), MultiSimilarityMiner()),
        lambda library, *_: _mined(
            library.losses.MultiSimilarityLoss(), library.miners.MultiSimilarityMiner()
        ),
    ),
    "circle": Case(
        _pairs(Circle(margin=0.4, scale=80.0)), lambda library, *_: library.losses.CircleLoss()
    ),
    "smooth_ap": Case(
        _pairs(SmoothAP()),
        lambda library, *_: library.losses.SmoothAPLoss(),
        of_each=0,
        equal=False,  # theirs counts the query as its own positive
    ),
    "facility_location": Case(_pairs(FacilityLocation())),
    "nt_xent": Case(
        lambda *_: lambda rows, _: nt_xent(rows[0::2], rows[1::2], temperature=0.1, tile_size=TILE),
        lambda library, *_: _as_views(library.losses.NTXentLoss(temperature=0.1)),
        of_each=2,
    ),
    "supcon": Case(
        lambda *_: lambda rows, labels: supcon(rows[None], labels, temperature=0.1, tile_size=TILE),
        lambda library, *_: library.losses.SupConLoss(temperature=0.1),
    ),
    "proxy_nca": Case(
        _head(partial(ProxyNCA, temperature=1.0)),
        _weighted("ProxyNCALoss", lambda *sizes: ProxyNCA(*sizes).proxies),
    ),
    "proxy_anchor": Case(
        _head(ProxyAnchor),
        _weighted("ProxyAnchorLoss", lambda *sizes: ProxyAnchor(*sizes).proxies),
    ),
    "soft_triple": Case(
        _head(partial(SoftTriple, weight=0.0)),
        _weighted("SoftTripleLoss", lambda *sizes: SoftTriple(*sizes).proxies.T),
    ),
    "center": Case(_head(CenterLoss)),
    "softmax": Case(
        _head(partial(MarginSoftmax, margin=NormalizedSoftmax(scale=20.0))),
        _weighted("NormalizedSoftmaxLoss", _columns(NormalizedSoftmax())),
        classes=1000,
    ),
    "sphereface": Case(
        _head(
            partial(MarginSoftmax, margin=SphereFace(factor=3, lambda_start=0.0, lambda_min=0.0))
        ),
        _weighted("SphereFaceLoss", _columns(SphereFace()), margin=3, scale=1),
        classes=1000,
    ),
    "cosface": Case(
        _head(partial(MarginSoftmax, margin=CosFace())),
        _weighted("CosFaceLoss", _columns(CosFace()), margin=0.35, scale=64),
        classes=1000,
    ),
    "arcface": Case(
        _head(partial(MarginSoftmax, margin=ArcFace(beyond_pi="monotone"))),
        _weighted("ArcFaceLoss", _columns(ArcFace()), margin=math.degrees(0.5), scale=64),
        classes=1000,
    ),
    "adacos": Case(_head(partial(MarginSoftmax, margin=AdaCos())), classes=1000),
    "adaface": Case(_head(partial(MarginSoftmax, margin=AdaFace())), classes=1000),
    "curricularface": Case(_head(partial(MarginSoftmax, margin=CurricularFace())), classes=1000),
    "magface": Case(_head(partial(MarginSoftmax, margin=MagFace())), classes=1000),
}
