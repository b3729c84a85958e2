"""kNN probe with the memory bank as the gallery."""

from collections.abc import Callable
from typing import Any

import torch

from ssl_dml.augment import Augmentation
from ssl_dml.backbones import Backbone
from ssl_dml.data import SampleSet
from ssl_dml.distributed import process_group
from ssl_dml.evaluation.compute import Compute
from ssl_dml.evaluation.embed import ProbeSplit, embed_labeled, encoder, evaluating
from ssl_dml.evaluation.probe import ProbeConfig, Seen, probe
from ssl_dml.methods import BankMethod, Method
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import Embeddings, Stored


def probe_method(
    method: Method,
    train: SampleSet,
    split: ProbeSplit | None,
    augment: Augmentation,
    *,
    config: ProbeConfig,
    device: torch.device,
    backbone: Backbone | None = None,
    look: Callable[[Seen], dict[str, float]] | None = None,
) -> dict[str, float]:
    """:func:`probe` of a method's backbone, and :func:`bank_probe` where it has a memory bank.

    Args:
        method: Its backbone is probed, unless another is given.
        train: Training samples.
        split: Gallery and query; None without labels.
        augment: Makes the views.
        config: k and temperature.
        device: Where the networks are.
        backbone: The network to probe instead, such as an average of the method's; rows of the
            bank are compared with the method's own.
        look: Measures more of what the probe saw.
    """
    settings: Any = {"config": config, "device": device, "look": look}
    found = probe(backbone or method.backbone, train, split, augment, **settings)
    return {**found, **bank_probe(method, split, config=config, device=device)}


def bank_probe(
    method: Method, split: ProbeSplit | None, *, config: ProbeConfig, device: torch.device
) -> dict[str, float]:
    """Top-1 accuracy of weighted kNN of query embeddings among rows of the memory bank.

    Gallery images are not encoded, so this costs the queries alone. All processes search. The
    result is empty for a method without a bank, and for samples without labels.

    References:
        Wu et al., 2018, arXiv:1805.01978, sec. 3.4.
    """
    if split is None or not isinstance(method, BankMethod):
        return {}
    features = encoder(method.backbone, device)
    compute = Compute(device=device, group=process_group())

    def encode(samples: Stored) -> Embeddings:
        return method.project(features(samples))

    with evaluating(method):
        query = embed_labeled(encode, split.query, split.query_rows, device=device)
        rows = method.bank.rows(split.gallery_rows.to(device)).float().cpu()
    assert split.gallery.labels is not None
    gallery = EmbeddingTable(embeddings=rows, labels=split.gallery.labels[split.gallery_rows])
    return {"bank_knn_top1": config.accuracy(gallery, query, compute)}
