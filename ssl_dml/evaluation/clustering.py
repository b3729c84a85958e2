"""Clusters of embeddings, without labels, and how well they agree with the classes."""

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.checks import at_least
from ssl_dml.checks import seeds as check_seeds
from ssl_dml.evaluation.agreement import agreement
from ssl_dml.evaluation.density import density_clusters
from ssl_dml.evaluation.repeated import repeated
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError

CHUNK = 65_536
PER_CLUSTER = 256  # rows that train a center; faiss takes no more


def clustering(
    gallery: EmbeddingTable,
    query: EmbeddingTable | None = None,
    *,
    clusters: int | None = None,
    seeds: int = 5,
    iterations: int = 25,
    neighbors: int = 5,
    prominence: float = 0.2,
    seed: int = 0,
) -> dict[str, float]:
    """Agreement of classes with k-means, and with clusters that find their own number.

    Rows are L2-normalized.

    Args:
        gallery: Rows to cluster.
        query: None; clusters are of one table.
        clusters: Number of clusters of k-means; None for that of the classes.
        seeds: How often k-means starts anew, 2 or more.
        iterations: Iterations of k-means.
        neighbors: Nearest neighbors of :func:`~ssl_dml.evaluation.density.density_clusters`.
        prominence: The same function's.
        seed: Seed of the first start.

    Returns:
        ``kmeans_nmi``, ``kmeans_nmi_geometric``, ``kmeans_ami``, ``kmeans_ari`` and
        ``kmeans_purity``, of :func:`~ssl_dml.evaluation.agreement.agreement`, as means over starts
        with their 95% interval; the same of the other clusters as ``density_nmi`` and so on, with
        ``density_clusters``, how many there are.

    Raises:
        ConfigError: If there is a query, or an option is out of range.

    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 0, 1, 1]))
    >>> found = clustering(table, neighbors=1)
    >>> found["kmeans_nmi"], found["density_ami"], found["density_clusters"]
    (1.0, 1.0, 2.0)
    """
    if query is not None:
        raise ConfigError("clustering is of one table: leave --query out")
    at_least(2, "clustering", seeds=seeds)
    at_least(1, "clustering", iterations=iterations, neighbors=neighbors)
    at_least(0, "clustering", prominence=prominence)
    check_seeds("clustering", seed=seed)
    rows, most = gallery.embeddings, len(gallery.labels) - 1
    count = len(gallery.labels.unique()) if clusters is None else clusters
    for name, value, limit in (("clusters", count, most + 1), ("neighbors", neighbors, most)):
        if not 1 <= value <= limit:
            raise ConfigError(
                f"clustering.{name} must be from 1 to {limit}, as there are {most + 1} rows, "
                f"got {value}"
            )
    found = [
        agreement(gallery.labels, kmeans(rows, count, iterations=iterations, seed=seed + i))
        for i in range(seeds)
    ]
    own = density_clusters(rows, neighbors=neighbors, prominence=prominence)
    return {
        **{f"kmeans_{name}": value for name, value in repeated(found).items()},
        **{f"density_{name}": value for name, value in agreement(gallery.labels, own).items()},
        "density_clusters": float(own.max()) + 1,
    }


def kmeans(
    rows: Float[Tensor, "rows dim"],
    clusters: int,
    *,
    iterations: int = 25,
    starts: int = 1,
    seed: int = 0,
) -> Int[Tensor, " rows"]:
    """Cluster of each row by spherical k-means: that of the center with the largest cosine.

    Centers start as random rows, and up to 256 random rows a cluster train them.

    >>> kmeans(torch.eye(3), 3).sort().values
    tensor([0, 1, 2])

    Args:
        rows: Embeddings of any length.
        clusters: Number of clusters, at most that of the rows.
        iterations: Iterations of the training.
        starts: How often it starts anew; the best one counts.
        seed: Seed of the choice of rows.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(rows), generator=generator)[: PER_CLUSTER * clusters]
    model = faiss.Kmeans(
        rows.shape[1], clusters, niter=iterations, nredo=starts, seed=seed, spherical=True,
        min_points_per_centroid=1, max_points_per_centroid=PER_CLUSTER,
    )  # fmt: skip
    model.train(F.normalize(rows[chosen].float(), dim=1).numpy())
    found = [
        model.assign(F.normalize(part.float(), dim=1).numpy())[1] for part in rows.split(CHUNK)
    ]
    return torch.from_numpy(np.concatenate(found))
