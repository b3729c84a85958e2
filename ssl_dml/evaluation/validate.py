"""How good an embedding model is on held-out samples, during fine-tuning."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.backbones import Backbone
from ssl_dml.data import SampleSet
from ssl_dml.distributed import process_group, rank
from ssl_dml.evaluation.compute import Compute
from ssl_dml.evaluation.embed import embed_labeled, encoder, evaluating
from ssl_dml.evaluation.health import health_on
from ssl_dml.evaluation.retrieval import label_distances, retrieval

KS = (1, 2, 4, 8)


def validate(
    backbone: Backbone,
    samples: SampleSet,
    queries: Int[Tensor, " queries"],
    gallery: Int[Tensor, " gallery"] | None,
    *,
    label_values: Float[Tensor, "classes values"] | None = None,
    device: torch.device,
) -> dict[str, float]:
    """Retrieval, or label distances where labels are continuous, and health of the embeddings.

    All processes embed and search. The result is on the first, and empty on others or without
    queries. Each part of the
    network keeps its mode.

    Args:
        backbone: Makes the embeddings.
        samples: Data set with labels.
        queries: Rows of the data set to search for.
        gallery: Rows to search; None to search for each query among the others.
        label_values: Continuous label of each class, for :func:`label_distances`; None to measure
            retrieval of classes.
        device: Where the network is.
    """
    if not len(queries):
        return {}
    parts = [queries] if gallery is None else [gallery, queries]
    encode = encoder(backbone, device)
    with evaluating(backbone):
        tables = [embed_labeled(encode, samples, rows, device=device) for rows in parts]
    searched = len(queries) - 1 if gallery is None else len(gallery)
    ks, compute = [k for k in KS if k <= searched], Compute(device=device, group=process_group())
    if label_values is None:
        found = retrieval(*tables, ks=ks, compute=compute)
    else:
        found = label_distances(*tables, label_values=label_values, ks=ks, compute=compute)
    if rank() != 0:
        return {}
    return {**found, **health_on(compute, tables[-1].embeddings)}
