"""What kNN and retrieval measure of each query, for the comparison of two models."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.evaluation.knn import knn_correct
from ssl_dml.evaluation.search import Metric, check_ks, nearest
from ssl_dml.tables import EmbeddingTable

Values = dict[str, Float[Tensor, " queries"]]


def knn_values(
    gallery: EmbeddingTable,
    query: EmbeddingTable,
    *,
    ks: Sequence[int] = (20,),
    temperatures: Sequence[float] = (0.07,),
) -> Values:
    """Of which :func:`~ssl_dml.evaluation.knn` takes the mean.

    Args:
        gallery: Labeled rows that vote.
        query: Rows to classify.
        ks: Numbers of neighbors that vote.
        temperatures: Temperatures of the votes, above 0.

    >>> gallery = EmbeddingTable(embeddings=torch.eye(2), labels=torch.tensor([0, 1]))
    >>> rows = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    >>> query = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 1]))
    >>> knn_values(gallery, query, ks=[1], temperatures=[0.1])
    {'knn_top1_k1_t0.1': tensor([1., 0.], dtype=torch.float64)}
    """
    return {
        f"knn_top1_k{k}_t{temperature:g}": right.double()
        for (k, temperature), right in knn_correct(gallery, query, ks, temperatures)
    }


def retrieval_values(
    gallery: EmbeddingTable, *, ks: Sequence[int] = (1,), metric: Metric = "cosine"
) -> Values:
    """Of which :func:`~ssl_dml.evaluation.retrieval` takes the mean; NaN where there is no other.

    Args:
        gallery: Rows that are each searched for among the others.
        ks: Numbers of nearest neighbors for recall@k.
        metric: Which distance; ``cosine`` ignores the lengths of embeddings.

    >>> rows = torch.tensor([[0.0], [1.0], [1.9], [5.0], [9.0]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 0, 1, 1, 2]))
    >>> retrieval_values(table, metric="euclidean")["recall_at_1"]
    tensor([1., 0., 0., 1., nan], dtype=torch.float64)
    """
    check_ks(ks, len(gallery.labels) - 1)
    relevant = torch.bincount(gallery.labels)[gallery.labels] - 1
    depths = relevant.clamp(min=max(ks)) * (relevant > 0)
    names = [*(f"recall_at_{k}" for k in ks), "map_at_r", "r_precision"]
    found = torch.full((len(names), len(relevant)), torch.nan, dtype=torch.double)
    for rows, near in nearest(gallery.embeddings, None, depths, metric=metric):
        right = gallery.labels[near] == gallery.labels[rows, None]
        counts, ranks = relevant[rows], torch.arange(1, near.shape[1] + 1)
        within = right & (ranks <= counts[:, None])
        precision = within.cumsum(dim=1).double() / ranks * within
        hits = [right[:, :k].any(dim=1).double() for k in ks]
        sums = precision.sum(dim=1) / counts, within.sum(dim=1).double() / counts
        found[:, rows] = torch.stack([*hits, *sums])
    return dict(zip(names, found, strict=True))
