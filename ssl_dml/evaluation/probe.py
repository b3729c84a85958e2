"""The probe of a backbone during pretraining: kNN accuracy and health of its features."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssl_dml.augment import Augmentation
from ssl_dml.backbones import Backbone
from ssl_dml.checks import at_least, positive
from ssl_dml.config import ConfigError
from ssl_dml.data import SampleSet
from ssl_dml.distributed import process_group, rank
from ssl_dml.evaluation.compute import ONE_PROCESS, Compute
from ssl_dml.evaluation.embed import (
    ProbeSplit,
    embed,
    embed_split,
    encoder,
    evaluating,
    probe_split,
    raw_baseline,
)
from ssl_dml.evaluation.health import ROWS, alignment, evenly_spaced, health_on
from ssl_dml.evaluation.knn import knn_correct
from ssl_dml.progress import say
from ssl_dml.tables import EmbeddingTable

ALIGNMENT_ROWS = 512
VIEWS = 2  # of each of these rows
FORWARDS = 3  # of a sample in a training step: forward, and twice as much backward
SHARE = 10  # the part of training that probes take at most, one in so many
LEAST_GALLERY, MOST_GALLERY = 10_000, 100_000  # small sets are searched whole


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How a backbone is probed during training.

    Args:
        every_epochs: Epochs between two probes.
        k: Number of neighbors that vote.
        temperature: Temperature of the votes, above 0.
        max_gallery: Most samples in the gallery; it is a random subset if there are more. None
            takes at most 100,000, and fewer where a probe would take more than a tenth of training.
    """

    every_epochs: int = 5
    k: int = 20
    temperature: float = 0.07
    max_gallery: int | None = None

    def __post_init__(self) -> None:
        at_least(1, "evaluation", every_epochs=self.every_epochs, k=self.k)
        at_least(1, "evaluation", max_gallery=self.max_gallery)
        positive("evaluation", temperature=self.temperature)

    def gallery_for(self, samples: int, queries: int) -> int:
        """Most samples in the gallery.

        What a probe costs is counted, not timed, so that every machine, and a run that is resumed,
        measures with the same gallery. A sample of the gallery, a query, and a view for alignment
        cost a forward pass; a training step costs at least three for each sample.

        >>> ProbeConfig(every_epochs=5).gallery_for(60_000, 10_000)
        78976
        >>> ProbeConfig(every_epochs=2).gallery_for(60_000, 10_000)
        24976
        >>> ProbeConfig(every_epochs=2, max_gallery=50_000).gallery_for(60_000, 10_000)
        50000

        Args:
            samples: Training samples.
            queries: Queries of a probe.

        Returns:
            ``max_gallery`` if it is given; not less than 10,000, or k.
        """
        if self.max_gallery is not None:
            return self.max_gallery
        forwards = FORWARDS * self.every_epochs * samples // SHARE
        left = forwards - queries - VIEWS * min(ALIGNMENT_ROWS, samples)
        return min(MOST_GALLERY, max(left, LEAST_GALLERY, self.k))

    def check(self, split: ProbeSplit) -> None:
        """Raise before training if the gallery is too small for k.

        Raises:
            ConfigError: If k exceeds the gallery.
        """
        if self.k > (most := len(split.gallery_rows)):
            raise ConfigError(
                f"evaluation.k must be at most the number of gallery samples, {most}; "
                f"got {self.k}: set it to {most} or less"
            )

    def accuracy(
        self, gallery: EmbeddingTable, query: EmbeddingTable, compute: Compute = ONE_PROCESS
    ) -> float:
        """Top-1 accuracy of :func:`~ssl_dml.evaluation.knn` with this k and temperature."""
        return self.correct(gallery, query, compute).double().mean().item()

    def correct(
        self, gallery: EmbeddingTable, query: EmbeddingTable, compute: Compute = ONE_PROCESS
    ) -> Bool[Tensor, " queries"]:
        """Whether :func:`~ssl_dml.evaluation.knn` with these has each query right."""
        ((_, right),) = knn_correct(gallery, query, [self.k], [self.temperature], compute)
        return right

    def held_out(self, gallery: EmbeddingTable, compute: Compute = ONE_PROCESS) -> float:
        """Accuracy on a tenth of the gallery, which the rest classifies; the same tenth each time.

        No more samples vote than there are left.
        """
        count = len(gallery.labels)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
        held = max(1, count // 10)
        query, rest = (
            EmbeddingTable(embeddings=gallery.embeddings[rows], labels=gallery.labels[rows])
            for rows in (order[:held], order[held:])
        )
        if len(rest.labels.unique()) == 1:  # nothing to vote on
            return (query.labels == rest.labels[0]).double().mean().item()
        return replace(self, k=min(self.k, count - held)).accuracy(rest, query, compute)


class Seen(NamedTuple):
    """What a probe saw, the same on every process.

    Attributes:
        features: Those of the gallery, or without labels of evenly spaced training samples.
        gallery: The same with labels; None without.
        correct: Whether each query was right; None without labels.
        compute: The device and the processes that measure it, all together.
    """

    features: Float[Tensor, "rows dim"]
    gallery: EmbeddingTable | None = None
    correct: Bool[Tensor, " queries"] | None = None
    compute: Compute = ONE_PROCESS


def open_probe(train: SampleSet, test: SampleSet | None, config: ProbeConfig) -> ProbeSplit | None:
    """Gallery and query of the probe, said aloud; None, and why, if there is nothing to probe.

    Raises:
        ConfigError: If fewer samples are searched than are to vote.
    """
    split = probe_split(train, test)
    if isinstance(split, str):
        say(split)
        return None
    most, whole = config.gallery_for(len(train), len(split.query_rows)), len(split.gallery_rows)
    split = probe_split(train, test, max_gallery=most)
    assert isinstance(split, ProbeSplit)
    config.check(split)
    thinned = config.max_gallery is None and most < min(whole, MOST_GALLERY)
    why = f" of {whole:,}, so that probes take at most a tenth of training;" if thinned else ""
    more = f"{why} evaluation.max_gallery sets another number" if thinned else ""
    say(f"probe: {split.description}{more}")
    return split


def probe(
    backbone: Backbone,
    train: SampleSet,
    split: ProbeSplit | None,
    augment: Augmentation,
    *,
    config: ProbeConfig,
    device: torch.device,
    look: Callable[[Seen], dict[str, float]] | None = None,
) -> dict[str, float]:
    """kNN accuracy, where there are labels, and health of the features.

    All processes embed and search. Of the result the first has all, and others what is measured
    together. The network keeps its mode, and random generators keep their states.

    Args:
        backbone: The network to probe.
        train: Training samples, whose views give the alignment.
        split: Gallery and query; None without labels.
        augment: Makes the views.
        config: k and temperature.
        device: Where the backbone is.
        look: Measures more of what the probe saw, on every process.

    Returns:
        ``knn_top1`` in [0, 1]; ``alignment``; the measures of :func:`health`; and those of
        ``look``.
    """
    encode, measured = encoder(backbone, device), dict[str, float]()
    compute = Compute(device=device, group=process_group())
    with evaluating(backbone):
        if split is None:
            rows = evenly_spaced(len(train), ROWS)
            seen = Seen(embed(encode, train, rows, device=device), compute=compute)
        else:
            gallery, query = embed_split(encode, split, device=device)
            correct = config.correct(gallery, query, compute)
            seen = Seen(gallery.embeddings, gallery, correct, compute)
        if seen.correct is not None:
            measured["knn_top1"] = seen.correct.double().mean().item()
        views = view_features(backbone, train, augment, compute=compute)
        measured["alignment"] = alignment(views[:, 0], views[:, 1])
        measured |= look(seen) if look is not None else {}
    return measured | (health_on(compute, seen.features) if rank() == 0 else {})


def baseline(
    split: ProbeSplit | None, *, config: ProbeConfig, device: torch.device
) -> dict[str, float]:
    """kNN accuracy of an untrained baseline, see :func:`~ssl_dml.evaluation.embed.raw_baseline`.

    It is empty without labels. Features are computed on ``device``, since processes on several GPUs
    exchange no tensors of the CPU; all processes search.

    >>> baseline(None, config=ProbeConfig(), device=torch.device("cpu"))
    {}
    """
    if split is None:
        return {}
    name, features = raw_baseline(split.gallery.spec)
    gallery, query = embed_split(features, split, device=device)
    compute = Compute(device=device, group=process_group())
    return {f"{name}_knn_top1": config.accuracy(gallery, query, compute)}


def view_features(
    backbone: Backbone,
    samples: SampleSet,
    augment: Augmentation,
    *,
    most: int = ALIGNMENT_ROWS,
    count: int = VIEWS,
    compute: Compute,
) -> Float[Tensor, "samples views features"]:
    """Features of some views of evenly spaced samples, on the CPU; the same views each time.

    Args:
        backbone: On the device, in evaluation mode.
        samples: The data set.
        augment: Makes the views, of which the first is taken.
        most: Most samples.
        count: Views of each.
        compute: The device, and the processes: all make all views, and each encodes its share.
    """
    device, found = compute.device, list[Tensor]()
    apart = device.type != "cpu"
    devices = [torch.accelerator.current_device_index()] if apart else []
    with torch.random.fork_rng(devices=devices, device_type=device.type if apart else "cuda"):
        torch.manual_seed(0)
        for rows in evenly_spaced(len(samples), most).split(ALIGNMENT_ROWS):
            stored = samples[rows][0].to(device)
            views = (augment(stored)[0][compute.share] for _ in range(count))
            seen = torch.stack([backbone(view).float().cpu() for view in views], dim=1)
            whole = seen.new_zeros(len(rows), *seen.shape[1:])
            whole[compute.share] = seen
            found.append(compute.whole(whole))
    return torch.cat(found)
