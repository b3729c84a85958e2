"""Embeddings on a plane, and in groups, to look at."""

from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.evaluation.clustering import kmeans
from ssl_dml.types import ConfigError

DIM = 50  # principal components that a nonlinear map starts from
NEIGHBORS = 15
FEWEST = 10  # rows of a nonlinear map


def pca(
    embeddings: Float[Tensor, "rows dim"], dim: int = 2
) -> tuple[Float[Tensor, "rows kept"], Float[Tensor, " kept"]]:
    """Coordinates on the first principal components, and their shares of the variance.

    The largest coordinate of each component is positive, so that its sign is always the same.

    >>> points, share = pca(torch.tensor([[0.0, 0.0], [2.0, 0.0], [7.0, 0.0]]), 1)
    >>> points[:, 0], share
    (tensor([-3., -1.,  4.]), tensor([1.]))
    """
    centered = embeddings.double() - embeddings.double().mean(dim=0)
    left, singular, _ = torch.linalg.svd(centered, full_matrices=False)
    points = (left * singular)[:, :dim]
    points = F.pad(points, (0, dim - points.shape[1]))
    largest = points.gather(0, points.abs().argmax(dim=0, keepdim=True))
    points = points * torch.where(largest < 0, -1.0, 1.0)
    share = singular.square() / singular.square().sum().clamp_min(1e-30)
    return points.float(), F.pad(share[:dim], (0, dim - len(share[:dim]))).float()


def neighbor_map(
    embeddings: Float[Tensor, "rows dim"], *, seed: int = 0
) -> tuple[str, Float[Tensor, "rows 2"]]:
    """A plane that keeps neighbors together: UMAP where it is installed, else t-SNE.

    Unit rows are mapped, by cosine.

    Returns:
        The name of the method, and the coordinates.

    Raises:
        ConfigError: If there are fewer than 10 rows, or neither umap-learn nor scikit-learn.
    """
    if len(embeddings) < FEWEST:
        raise ConfigError(f"a map of neighbors needs {FEWEST} samples, got {len(embeddings)}")
    unit = F.normalize(embeddings.float(), dim=1)
    rows = pca(unit, min(DIM, *unit.shape))[0].numpy()
    near = min(NEIGHBORS, len(rows) - 1)
    with suppress(ImportError):  # also if another package has the name
        from umap import UMAP  # pyright: ignore[reportMissingImports]

        found = UMAP(n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(rows)
        return "UMAP", torch.from_numpy(np.asarray(found, np.float32))
    if find_spec("sklearn"):
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(rows) - 1) / 3)
        method = TSNE(perplexity=perplexity, init="pca", random_state=seed)
        return "t-SNE", torch.from_numpy(method.fit_transform(rows).astype(np.float32))
    raise ConfigError(
        "UMAP needs umap-learn, and t-SNE needs scikit-learn: pip install 'ssl_dml[report]'"
    )


def clusters(
    embeddings: Float[Tensor, "rows dim"], count: int, *, seed: int = 0
) -> Int[Tensor, " rows"]:
    """The group of each row by k-means of unit rows, from 0, the largest group first.

    >>> clusters(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]]), 2)
    tensor([1, 0, 0])
    """
    count = min(count, len(embeddings))
    found = kmeans(embeddings, count, starts=3, seed=seed)
    order = found.bincount(minlength=count).argsort(descending=True, stable=True)
    return order.argsort()[found]
