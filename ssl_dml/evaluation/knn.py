"""Weighted k-nearest-neighbor classification of frozen embeddings."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.checks import positive
from ssl_dml.evaluation.bootstrap import interval
from ssl_dml.evaluation.compute import ONE_PROCESS, Compute
from ssl_dml.evaluation.search import check_ks, most_similar
from ssl_dml.tables import EmbeddingTable

CHUNK = 1024


def knn(
    gallery: EmbeddingTable,
    query: EmbeddingTable,
    *,
    ks: Sequence[int] = (20, 1, 10, 100, 200),
    temperatures: Sequence[float] = (0.07, 0.1),
    compute: Compute = ONE_PROCESS,
) -> dict[str, float]:
    """Top-1 accuracy of a weighted kNN classifier, for each k and temperature.

    Rows are L2-normalized. A neighbor of cosine ``s`` votes for its class with the weight
    ``exp(s / T)``; the class with the most votes wins, the lower one of equals. One search serves
    every k and temperature.

    Args:
        gallery: Labeled rows that vote.
        query: Rows to classify.
        ks: Numbers of neighbors that vote.
        temperatures: Temperatures T of the votes, above 0; low ones favor the nearest.
        compute: The device that searches, and the processes that share the queries.

    Returns:
        ``knn_top1_k{k}_t{T}`` in [0, 1] for every pair, and ``knn_top1``, that of the first k and
        the first temperature, with its 95% interval by a bootstrap over queries as
        ``knn_top1_low`` and ``knn_top1_high``.

    Raises:
        ValueError: If a k exceeds the gallery, a temperature is not positive, or the gallery has
            one class.

    References:
        Wu et al., 2018, arXiv:1805.01978, sec. 3.4.

    >>> gallery = EmbeddingTable(embeddings=torch.eye(2), labels=torch.tensor([0, 1]))
    >>> rows = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    >>> query = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 1]))
    >>> knn(gallery, query, ks=[1], temperatures=[0.1])["knn_top1"]
    0.5
    """
    results = dict[str, float]()
    for (k, temperature), right in knn_correct(gallery, query, ks, temperatures, compute):
        accuracy = right.double().mean().item()
        if not results:
            _, low, high = interval(right.double())
            results |= {"knn_top1": accuracy, "knn_top1_low": low, "knn_top1_high": high}
        results[f"knn_top1_k{k}_t{temperature:g}"] = accuracy
    return results


def knn_correct(
    gallery: EmbeddingTable,
    query: EmbeddingTable,
    ks: Sequence[int],
    temperatures: Sequence[float],
    compute: Compute = ONE_PROCESS,
) -> Iterator[tuple[tuple[int, float], Bool[Tensor, " queries"]]]:
    """Whether :func:`knn` has each query right, for each k and temperature.

    Raises:
        ValueError: As :func:`knn`.
    """
    check_ks(ks, len(gallery.labels))
    for temperature in temperatures:
        positive(temperatures=temperature)
    if len(gallery.labels.unique()) == 1:
        raise ValueError("a kNN probe needs at least 2 classes; the gallery has 1")
    classes = int(torch.cat([gallery.labels, query.labels]).max()) + 1
    own = compute.share
    cosines, rows = most_similar(
        gallery.embeddings, query.embeddings[own], max(ks), device=compute.device
    )
    labels = gallery.labels[rows]
    for k in ks:
        for temperature in temperatures:
            predicted = vote(cosines[:, :k], labels[:, :k], temperature, classes)
            right = torch.zeros(len(query.labels), dtype=torch.bool)
            right[own] = predicted == query.labels[own]
            yield (k, temperature), compute.whole(right)


def vote(
    cosines: Float[Tensor, "rows k"],
    labels: Int[Tensor, "rows k"],
    temperature: float,
    classes: int,
) -> Int[Tensor, " rows"]:
    """Class of each row by the weighted votes of its neighbors, as :func:`knn` counts them."""
    predictions: list[Tensor] = []
    for near, voted in zip(cosines.split(CHUNK), labels.split(CHUNK), strict=True):
        weights = ((near - near[:, :1]) / temperature).double().exp()
        votes = weights.new_zeros(len(near), classes).scatter_add_(1, voted, weights)
        predictions.append(votes.argmax(dim=1))
    return torch.cat(predictions)
