"""What kNN, retrieval and verification measure of each query, for the comparison of two models."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.checks import fraction
from ssl_dml.evaluation.health import evenly_spaced
from ssl_dml.evaluation.knn import knn_correct
from ssl_dml.evaluation.retrieval import measured
from ssl_dml.evaluation.search import Metric, check_ks, nearest
from ssl_dml.tables import EmbeddingTable

QUERIES, TILE = 2000, 2**21
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
        own = measured(right, relevant[rows], ("recall", "map_at_r", "r_precision"), ks)
        found[:, rows] = torch.stack([own[name] for name in names])
    return dict(zip(names, found, strict=True))


def verification_values(gallery: EmbeddingTable, *, fars: Sequence[float] = (0.01,)) -> Values:
    """How well each sample tells its own class from others by cosine.

    A threshold is of each sample's own impostors, so that a measure is a mean over samples, unlike
    one of pooled pairs. Up to 2,000 evenly spaced samples are each compared with all others.

    Args:
        gallery: Rows whose labels are identities.
        fars: False acceptance rates, above 0; a sample with fewer than 1 / rate impostors has none.

    Returns:
        ``auc``: fraction of the pairs of a genuine and an impostor that are in the right order,
        half of a pair of equals; ``tar_at_far_{far}``: fraction of genuine ones that are accepted
        while at most ``far`` of the impostors are. NaN of samples that are alone or left out.

    >>> rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6], [0.0, 1.0]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 0, 1, 1]))
    >>> verification_values(table, fars=[0.5])["auc"]  # 0.6 is below 0.8, and above 0
    tensor([0.5000, 0.0000, 0.0000, 0.5000], dtype=torch.float64)
    """
    fraction(**{f"far {far}": far for far in fars})
    unit, labels, count = (
        F.normalize(gallery.embeddings, dim=1),
        gallery.labels,
        len(gallery.labels),
    )
    names = ["auc", *(f"tar_at_far_{far:g}" for far in fars)]
    found = torch.full((len(names), count), torch.nan, dtype=torch.double)
    for rows in evenly_spaced(count, QUERIES).split(max(1, TILE // count)):
        cosines = unit[rows] @ unit.T
        genuine = labels[rows, None] == labels
        genuine[torch.arange(len(rows)), rows] = False
        impostor = labels[rows, None] != labels
        own, others = genuine.sum(dim=1), impostor.sum(dim=1)
        scores, order = cosines.sort(dim=1)
        below = F.pad(impostor.gather(1, order).cumsum(dim=1), (1, 0))  # impostors before a place
        fewer, most = (
            below.gather(1, torch.searchsorted(scores, cosines, right=right))
            for right in (False, True)
        )
        share = genuine / own[:, None]  # of each genuine one; NaN of a sample that is alone
        right = ((fewer + most) / 2 / others[:, None] * share).sum(dim=1)
        above = others[:, None] - fewer  # impostors that score as high: those it would accept
        accepted = [
            ((above <= far * others[:, None]) * share)
            .sum(dim=1)
            .where(far * others >= 1, torch.nan)
            for far in fars
        ]
        found[:, rows] = torch.stack([right, *accepted]).double()
    return dict(zip(names, found, strict=True))
