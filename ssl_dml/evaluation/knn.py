"""Weighted k-nearest-neighbor classification of frozen embeddings."""

from collections.abc import Sequence

import faiss
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.types import EmbeddingTable

CHUNK = 1024


def knn(
    gallery: EmbeddingTable,
    query: EmbeddingTable,
    *,
    ks: Sequence[int] = (20,),
    temperatures: Sequence[float] = (0.07,),
) -> dict[str, float]:
    """Top-1 accuracy of a vote among the most similar gallery rows, for each k and temperature.

    Rows are L2-normalized; a neighbor of cosine ``s`` votes for its class with the weight
    ``exp(s / T)``; among equal votes the lower class wins. One exact search serves all.

    Args:
        gallery: Rows that are searched.
        query: Rows that are classified.
        ks: Numbers of neighbors that vote.
        temperatures: Sharpness of the vote, dimensionless, above 0.

    Returns:
        ``knn_top1_k{k}_t{T}`` in [0, 1] for every pair, and ``knn_top1``, that of the first k and
        the first temperature.

    Raises:
        ValueError: If a k exceeds the gallery, a temperature is not positive, or there is only
            one class.

    References:
        Wu et al., 2018, arXiv:1805.01978, sec. 3.4.
    """
    if min(ks) < 1 or max(ks) > len(gallery.embeddings):
        raise ValueError(
            f"k must be from 1 to the number of gallery rows, {len(gallery.embeddings)}; "
            f"got {max(ks) if min(ks) >= 1 else min(ks)}"
        )
    if min(temperatures) <= 0:
        raise ValueError(f"temperature must be positive, got {min(temperatures)}")
    classes = int(torch.cat([gallery.labels, query.labels]).max()) + 1
    if len(gallery.labels.unique()) == 1:
        raise ValueError("a kNN probe needs at least 2 classes; the gallery has 1")
    similarities, labels = _search(gallery, query, max(ks))
    results: dict[str, float] = {}
    for k in ks:
        for temperature in temperatures:
            predicted = _vote(similarities[:, :k], labels[:, :k], temperature, classes)
            accuracy = (predicted == query.labels).double().mean().item()
            results.setdefault("knn_top1", accuracy)
            results[f"knn_top1_k{k}_t{temperature:g}"] = accuracy
    return results


def _search(gallery: EmbeddingTable, query: EmbeddingTable, k: int) -> tuple[Tensor, Tensor]:
    rows, asked = (F.normalize(t.embeddings.float(), dim=1).numpy() for t in (gallery, query))
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)  # pyright: ignore[reportCallIssue] - faiss wraps it at import
    similarities, found = index.search(asked, k)  # pyright: ignore[reportCallIssue]
    return torch.from_numpy(similarities), gallery.labels[torch.from_numpy(found)]


def _vote(
    similarities: Float[Tensor, "rows k"], labels: Tensor, temperature: float, classes: int
) -> Tensor:
    predictions: list[Tensor] = []
    for near, theirs in zip(similarities.split(CHUNK), labels.split(CHUNK), strict=True):
        weights = ((near - near[:, :1]) / temperature).double().exp()
        votes = weights.new_zeros(len(near), classes).scatter_add_(1, theirs, weights)
        predictions.append(votes.argmax(dim=1))
    return torch.cat(predictions)
