"""Which layer or pooling of a network is best for kNN and for retrieval."""

from collections.abc import Mapping

from ssl_dml.evaluation.bootstrap import interval
from ssl_dml.evaluation.compute import ONE_PROCESS, Compute
from ssl_dml.evaluation.knn import knn_correct
from ssl_dml.evaluation.retrieval import retrieval
from ssl_dml.evaluation.search import Metric
from ssl_dml.tables import EmbeddingTable

MEASURED = ("knn_top1", "recall_at_1", "map_at_r")


def layers(
    gallery: EmbeddingTable,
    query: EmbeddingTable,
    *,
    dims: Mapping[str, int],
    k: int = 20,
    temperature: float = 0.07,
    metric: Metric = "cosine",
    compute: Compute = ONE_PROCESS,
) -> dict[str, float]:
    """kNN accuracy and retrieval of each layer and pooling, whose features stand side by side.

    Args:
        gallery: Rows that vote and are searched.
        query: Rows to classify and to search for.
        dims: Dimension of each, in the order of its columns; see
            :class:`~ssl_dml.backbones.pools.Pools`.
        k: Neighbors that vote in :func:`~ssl_dml.evaluation.knn.knn`.
        temperature: Temperature of the votes, above 0.
        metric: Distance of :func:`~ssl_dml.evaluation.retrieval.retrieval`.
        compute: The device that searches, and the processes that share the queries.

    Returns:
        For each ``{name}_knn_top1``, with its 95% interval by a bootstrap over queries,
        ``{name}_recall_at_1`` and ``{name}_map_at_r``.

    Raises:
        ValueError: If k exceeds the gallery, the gallery has one class, or no query's class is in
            the gallery.

    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.1]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 1]))
    >>> query = EmbeddingTable(embeddings=rows[:1], labels=torch.tensor([1]))
    >>> found = layers(table, query, dims={"layer:0": 2, "trained": 2}, k=1)
    >>> found["layer:0_knn_top1"], found["trained_recall_at_1"]
    (0.0, 0.0)
    """
    results, first = dict[str, float](), 0
    for name, dim in dims.items():
        one, two = (
            EmbeddingTable(embeddings=table.embeddings[:, first : first + dim], labels=table.labels)
            for table in (gallery, query)
        )
        first += dim
        ((_, right),) = knn_correct(one, two, [k], [temperature], compute)
        top1 = interval(right.double())
        found = retrieval(one, two, ks=[1], metric=metric, compute=compute)
        for end, value in zip(("", "_low", "_high"), top1, strict=True):
            results[f"{name}_knn_top1{end}"] = value
        results |= {f"{name}_{key}": found[key] for key in ("recall_at_1", "map_at_r")}
    return results


def shown_layers(results: Mapping[str, float]) -> str:
    """What :func:`layers` found as a table, the best of each column marked.

    >>> found = {f"{name}_{key}": 0.5 for name in ("mean", "gem") for key in MEASURED}
    >>> print(shown_layers(found | {"gem_map_at_r": 0.75}))
    pooling         kNN top-1    recall@1     MAP@R
    mean               0.5000*     0.5000*   0.5000
    gem                0.5000*     0.5000*   0.7500*
    """
    names = [key.removesuffix("_knn_top1") for key in results if key.endswith("_knn_top1")]
    best = {key: max(results[f"{name}_{key}"] for name in names) for key in MEASURED}
    lines = [f"{'pooling':14}{'kNN top-1':>11}{'recall@1':>12}{'MAP@R':>10}"]
    for name in names:
        line = f"{name:14}"
        for key, width in zip(MEASURED, (11, 11, 9), strict=True):
            value = results[f"{name}_{key}"]
            line += f"{value:{width}.4f}{'*' if value == best[key] else ' '}"
        lines.append(line.rstrip())
    return "\n".join(lines)
