"""What is measured of a backbone while it trains and after."""

from dataclasses import dataclass

import torch

from ssl_dml.augment import Augmentation
from ssl_dml.backbones import Backbone
from ssl_dml.checks import at_least, positive
from ssl_dml.config import ConfigError
from ssl_dml.data import SampleSet
from ssl_dml.distributed import rank
from ssl_dml.evaluation.embed import ProbeSplit, embed, embed_split, encoder, raw_baseline
from ssl_dml.evaluation.health import ROWS, alignment, evenly_spaced, health
from ssl_dml.evaluation.knn import knn
from ssl_dml.types import EmbeddingTable

ALIGNED = 512


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How a backbone is probed during training.

    Args:
        every_epochs: Passes over the data between two probes.
        k: Neighbors that vote.
        temperature: Sharpness of the vote.
        max_gallery: More gallery samples than this are thinned to it.
    """

    every_epochs: int = 5
    k: int = 20
    temperature: float = 0.07
    max_gallery: int = 100_000

    def __post_init__(self) -> None:
        at_least(1, "evaluation", every_epochs=self.every_epochs, max_gallery=self.max_gallery)
        at_least(1, "evaluation", k=self.k)
        positive("evaluation", temperature=self.temperature)

    def check(self, split: ProbeSplit) -> None:
        """Refuse a probe that cannot be made, before anything is trained.

        Raises:
            ConfigError: If fewer samples are searched than are to vote.
        """
        if self.k > len(split.gallery_rows):
            raise ConfigError(
                f"evaluation.k must be at most the number of gallery samples"
                f", {len(split.gallery_rows)}; got {self.k}"
            )

    def accuracy(self, gallery: EmbeddingTable, query: EmbeddingTable) -> float:
        """Top-1 accuracy of :func:`knn` with this k and temperature."""
        found = knn(gallery, query, ks=[self.k], temperatures=[self.temperature])
        return found["knn_top1"]


def probe(
    backbone: Backbone,
    train: SampleSet,
    split: ProbeSplit | None,
    augment: Augmentation,
    *,
    config: ProbeConfig,
    device: torch.device,
) -> dict[str, float]:
    """Weighted kNN where there are labels, and health of the features; on the first process.

    Neither the mode of the network nor any random generator is different afterwards.
    """
    training = backbone.training
    backbone.eval()
    encode = encoder(backbone, device)
    measured: dict[str, float] = {}
    if split is None:
        features = embed(encode, train, evenly_spaced(len(train), ROWS), device=device)
    else:
        gallery, query = embed_split(encode, split, device=device)
        features = gallery.embeddings
        if rank() == 0:
            measured["knn_top1"] = config.accuracy(gallery, query)
    if rank() == 0:
        aligned = _view_alignment(backbone, train, augment, device)
        measured |= {**health(features), "alignment": aligned}
    backbone.train(training)
    return measured


def baseline(
    split: ProbeSplit | None, *, config: ProbeConfig, device: torch.device
) -> dict[str, float]:
    """Weighted kNN of the samples themselves, see :func:`~ssl_dml.evaluation.embed.raw_baseline`.

    On the first process, like that of a backbone. The features are made on the run's device: the
    processes of several GPUs exchange no tensors of the CPU.
    """
    if split is None:
        return {}
    name, features = raw_baseline(split.gallery.spec)
    gallery, query = embed_split(features, split, device=device)
    return {f"{name}_knn_top1": config.accuracy(gallery, query)} if rank() == 0 else {}


@torch.no_grad()
def _view_alignment(
    backbone: Backbone, train: SampleSet, augment: Augmentation, device: torch.device
) -> float:
    """Alignment of two views of up to 512 samples, the same views at every probe."""
    rows = evenly_spaced(len(train), ALIGNED)
    apart = device.type != "cpu"
    devices = [torch.accelerator.current_device_index()] if apart else []
    with torch.random.fork_rng(devices=devices, device_type=device.type if apart else "cuda"):
        torch.manual_seed(0)
        samples = train[rows][0].to(device)
        first, second = (backbone(augment(samples)[0]).float() for _ in range(2))
    return alignment(first, second)
