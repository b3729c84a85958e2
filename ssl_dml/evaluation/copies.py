"""The nearest other rows of every row, quickly also among a million."""

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

EXACT_BELOW = 20_000  # rows; more are searched in inverted lists
PROBED = 16
CHUNK = 1 << 16


def indexed(rows: Float[np.ndarray, "rows dim"], *, exact_below: int = EXACT_BELOW) -> faiss.Index:
    """An index of rows by Euclidean distance, exact if there are few."""
    exact = faiss.IndexFlatL2(rows.shape[1])
    if len(rows) < exact_below:
        exact.add(rows)  # pyright: ignore[reportCallIssue] - faiss wraps it at import
        return exact
    lists = int(2 * len(rows) ** 0.5)
    index = faiss.IndexIVFFlat(exact, rows.shape[1], lists)
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, 64
    index.nprobe = PROBED
    index.train(rows)  # pyright: ignore[reportCallIssue]
    index.add(rows)  # pyright: ignore[reportCallIssue]
    return index


def nearest_others(
    embeddings: Float[Tensor, "rows dim"], k: int
) -> tuple[Int[Tensor, "rows k"], Float[Tensor, "rows k"]]:
    """The k nearest other rows of each row by cosine, and the cosines, from near to far.

    Above 20,000 rows some of the nearest are missed.

    >>> nearest_others(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), 1)[0][:, 0]
    tensor([2, 2, 1])
    """
    unit = F.normalize(embeddings.float(), dim=1)
    index = indexed(unit.numpy())
    near, cosines = list[Tensor](), list[Tensor]()
    for own in torch.arange(len(unit)).split(CHUNK):
        far, found = index.search(unit[own].numpy(), k + 1)  # pyright: ignore[reportCallIssue]
        rows, far = torch.from_numpy(found), torch.from_numpy(far)
        far = far.masked_fill(rows == own[:, None], torch.inf)
        far, order = far.sort(dim=1, stable=True)
        rows = rows.gather(1, order)[:, :k]
        missing = rows < 0  # lists that hold fewer: the nearest counts again
        rows = torch.where(missing, rows[:, :1], rows)
        far = torch.where(missing, far[:, :1], far[:, :k])
        near.append(rows)
        cosines.append(1 - far / 2)
    return torch.cat(near), torch.cat(cosines)
