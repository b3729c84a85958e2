"""What an embedding model is worth on samples that were held out."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.backbones import Backbone
from ssl_dml.data import SampleSet
from ssl_dml.distributed import rank
from ssl_dml.evaluation.embed import embed, encoder
from ssl_dml.evaluation.health import health
from ssl_dml.evaluation.retrieval import label_distances, retrieval
from ssl_dml.types import EmbeddingTable

KS = (1, 2, 4, 8)


def validate(
    backbone: Backbone,
    samples: SampleSet,
    queries: Int[Tensor, " queries"],
    gallery: Int[Tensor, " gallery"] | None,
    *,
    numbers: Float[Tensor, "classes values"] | None = None,
    device: torch.device,
) -> dict[str, float]:
    """Retrieval, or distances of labels that are numbers, and health; on the first process.

    The mode of every part of the network is the same afterwards.

    Args:
        backbone: Makes the embeddings.
        samples: Data set with labels.
        queries: Its rows that ask.
        gallery: Its rows that are searched; None for the other queries.
        numbers: What samples of each class show, for :func:`label_distances`; None for classes.
        device: Where the network is.
    """
    modes = [(module, module.training) for module in backbone.modules()]
    backbone.eval()
    encode = encoder(backbone, device)
    asked = _table(samples, queries, embed(encode, samples, queries, device=device))
    searched = None
    if gallery is not None:
        searched = _table(samples, gallery, embed(encode, samples, gallery, device=device))
    for module, training in modes:  # a part may be held in eval, as a frozen backbone is
        module.training = training
    if rank() != 0:
        return {}
    others = len(queries) - 1 if gallery is None else len(gallery)
    ks = [k for k in KS if k <= others]
    tables = (asked,) if searched is None else (searched, asked)
    if numbers is None:
        found = retrieval(*tables, ks=ks)
    else:
        found = label_distances(*tables, numbers=numbers, ks=ks)
    return {**found, **health(asked.embeddings)}


def _table(samples: SampleSet, rows: Tensor, features: Tensor) -> EmbeddingTable:
    assert samples.labels is not None
    return EmbeddingTable(embeddings=features, labels=samples.labels[rows][: len(features)])
