"""Worker of test_heads: a few steps of each head on this process's part of fixed batches.

Usage: head_steps.py FOLDER, with RANK and WORLD_SIZE in the environment. Writes for each head
the losses, the gradients after DDP's mean, and the state after the last step; and the same of a run
that goes on from the state after the first.
"""

import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from processes import STEPS, part_of, train, write_steps
from torch import Tensor, nn

from ssl_dml.distances import Mahalanobis
from ssl_dml.distributed import gather_object
from ssl_dml.heads import (
    CenterLoss,
    CrossEntropy,
    DenseTriplet,
    Head,
    LogRatio,
    MarginSoftmax,
    Nested,
    PairHead,
    ProxyAnchor,
    ProxyNCA,
    SoftTriple,
    WeightedSum,
)
from ssl_dml.losses import (
    Circle,
    Contrastive,
    FacilityLocation,
    GeneralizedLifted,
    Lifted,
    MultiSimilarity,
    NPair,
    SmoothAP,
    Triplet,
)
from ssl_dml.margins import (
    AdaCos,
    AdaFace,
    ArcFace,
    CombinedMargin,
    CosFace,
    CurricularFace,
    MagFace,
    NormalizedSoftmax,
    SphereFace,
)
from ssl_dml.memory import PartialFC, ddp_ignored_names
from ssl_dml.mining import (
    All,
    BatchHard,
    DistanceWeighted,
    Easy,
    FaceNet,
    Hard,
    MultiSimilarityMiner,
    SemiHard,
)
from ssl_dml.types import StepOutput

BATCH, INPUTS, DIM, CLASSES = 16, 6, 4, 5
LOSSES = {
    "contrastive": Contrastive,
    "contrastive_kinds": partial(Contrastive, reduction="kinds"),
    "triplet_learned": lambda: Triplet(margin=1.0, distance=Mahalanobis(dim=DIM)),
    "contrastive_covariance": lambda: Contrastive(distance=Mahalanobis(kind="covariance")),
    "triplet": Triplet,
    "triplet_soft": partial(Triplet, margin=None),
    "lifted": Lifted,
    "lifted_generalized": GeneralizedLifted,
    "multi_similarity": MultiSimilarity,
    "circle": partial(Circle, margin=0.4, scale=80.0),
    "smooth_ap": SmoothAP,
}
# Those that make their own pairs, or cluster the batch.
UNMINED = {"n_pair": NPair, "n_pair_one": partial(NPair, against="one", l2=0.0)}
SINGLE_PROCESS = {"facility_location": FacilityLocation}
MINERS = {
    "all": All,
    "easy": Easy,
    "semi_hard": SemiHard,
    "hard": Hard,
    "facenet": FaceNet,
    "batch_hard": BatchHard,
    "distance_weighted": DistanceWeighted,
    "multi_similarity": MultiSimilarityMiner,
}
MARGINS = {
    "softmax": NormalizedSoftmax,
    "cosface": CosFace,
    "arcface": ArcFace,
    "arcface_monotone": partial(ArcFace, beyond_pi="monotone"),
    "combined": CombinedMargin,
    "sphereface": SphereFace,
    "adacos": AdaCos,
    "adaface": AdaFace,
    "curricularface": CurricularFace,
    "magface": MagFace,
}
# How class weights are kept; of four processes one has none of five classes.
KEPT = {
    "whole": {},
    "split": {"sharded": True},
    "sampled": {"sample_rate": 0.3},
    "split_sampled": {"sharded": True, "sample_rate": 0.3, "sub_centers": 2},
}
WIDE = partial(Triplet, margin=1.0)  # so that easy triplets have a loss too
MEMORY = {"memory_size": 25, "memory_warmup_batches": 1}


def pair(loss: Callable, miner: Callable | None = None, **options: Any) -> Callable[[], Head]:
    def build() -> Head:
        chooser = None if miner is None else miner()
        return PairHead(DIM, CLASSES, loss=loss(), miner=chooser, **options)

    return build


def classes(margin: Callable, kept: dict[str, Any]) -> Callable[[], Head]:
    return lambda: MarginSoftmax(DIM, CLASSES, margin=margin(), **kept)


# A head that is added is listed here once: how it is built.
HEADS: dict[str, Callable[[], Head]] = {
    **{name: pair(loss) for name, loss in {**LOSSES, **UNMINED, **SINGLE_PROCESS}.items()},
    **{f"{name}_as_they_are": pair(loss, normalize=False) for name, loss in UNMINED.items()},
    **{f"{name}_mined": pair(loss, BatchHard) for name, loss in LOSSES.items()},
    **{f"{name}_memory": pair(loss, **MEMORY) for name, loss in {**LOSSES, **UNMINED}.items()},
    **{f"{name}_with_memory": pair(WIDE, miner, **MEMORY) for name, miner in MINERS.items()},
    **{
        f"{name}_{how}": classes(margin, kept)
        for name, margin in MARGINS.items()
        for how, kept in KEPT.items()
    },
    "proxy_nca": lambda: ProxyNCA(DIM, CLASSES),
    "proxy_anchor": lambda: ProxyAnchor(DIM, CLASSES),
    "soft_triple": lambda: SoftTriple(DIM, CLASSES, centers=3),
    "center": lambda: CenterLoss(DIM, CLASSES),
    "cross_entropy": lambda: CrossEntropy(DIM, DIM),
    "log_ratio": lambda: LogRatio(DIM, CLASSES),
    "log_ratio_anchor": lambda: LogRatio(DIM, CLASSES, anchors=1),
    "dense_triplet": lambda: DenseTriplet(DIM, CLASSES),
    "center_mean": lambda: CenterLoss(DIM, CLASSES, alpha=0.2, reduction="mean"),
    "nested_classes": lambda: Nested(
        DIM,
        CLASSES,
        head=partial(MarginSoftmax, margin=ArcFace(), sharded=True, sample_rate=0.5),
        dims=[2, DIM],
    ),
    "nested_pairs": lambda: Nested(
        DIM,
        CLASSES,
        head=partial(PairHead, loss=Triplet(), miner=DistanceWeighted(), memory_size=25),
        dims=[1, 3, DIM],
    ),
    "proxies_and_center": lambda: WeightedSum(
        DIM,
        CLASSES,
        heads={"proxies": ProxyNCA, "center": CenterLoss},
        weights={"center": 0.003},
    ),
    "classes_and_center": lambda: WeightedSum(
        DIM,
        CLASSES,
        heads={
            "classes": partial(MarginSoftmax, margin=ArcFace(), sharded=True, sample_rate=0.5),
            "center": CenterLoss,
        },
        weights={"center": 0.003},
    ),
    "proxies_and_triplet": lambda: WeightedSum(
        DIM,
        CLASSES,
        heads={
            "proxies": ProxyAnchor,
            "pairs": partial(PairHead, loss=Triplet(), miner=DistanceWeighted(), memory_size=25),
        },
    ),
}


class Model(nn.Module):
    """A small network under a head."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), nn.Linear(8, DIM))
        self.head = head

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        return ddp_ignored_names(self)

    def forward(self, samples: Tensor, labels: Tensor) -> StepOutput:
        return self.head(self.network(samples), labels)


def steps(name: str, rank: int, world: int, saved: Any) -> dict[str, Any]:
    """Losses, gradients and last state of a head; from the beginning, or from what was saved."""
    torch.manual_seed(0 if saved is None else 99)
    model = Model(HEADS[name]()).double()
    data = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(STEPS):
        labels = torch.randint(CLASSES, (BATCH,), generator=data) % model.head.num_classes
        samples = torch.randn(BATCH, INPUTS, generator=data, dtype=torch.float64)
        if model.head.continuous:
            labels = labels[:, None].double()
        batches.append((part_of(samples, rank, world), part_of(labels, rank, world)))
    made = train(model, batches, world, saved)
    for tensors in (made["state"], *made["gradients"]):
        _put_together(model, tensors)
    return made


def _put_together(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Rows of tables that are split, of all processes."""
    for path, module in model.named_modules():
        if isinstance(module, PartialFC) and module.sharded:
            for name in [name for name in tensors if name.startswith(f"{path}.")]:
                tensors[name] = torch.cat(gather_object(tensors[name]))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".broadcast_buffers. is deprecated")
    write_steps(sys.argv[1], HEADS, steps)
