"""What is asked for: images that results are like and unlike, and which rows may be results."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.index.index import Index
from ssl_dml.serve.uploads import unpack

MOST_TERMS, MOST_RESULTS = 32, 200
UNLIKE = 0.5  # weight of what results are not like; at 1, an image would cancel one of its kind
LEAST = 1e-6  # length of what is searched for


@dataclass(frozen=True, kw_only=True)
class Query:
    """A question.

    Args:
        like: Embeddings or ids whose mean is searched for.
        unlike: Embeddings or ids of which half the mean is subtracted.
        k: Number of results.
        label: The only class of results; None for any.
        folder: The only folder of results, with those below; None for any.
    """

    like: list[int | Float[np.ndarray, " dim"]]
    unlike: list[int | Float[np.ndarray, " dim"]]
    k: int
    label: int | None
    folder: str | None

    @property
    def ids(self) -> list[int]:
        """Rows of the index that are asked with."""
        return [term for term in (*self.like, *self.unlike) if isinstance(term, int)]


@dataclass(frozen=True)
class Answer:
    """Rows from the nearest on.

    Args:
        ids: The rows.
        scores: Their cosines with the query; None if nothing was searched for.
    """

    ids: list[int]
    scores: list[float] | None


def parse_query(values: Any, dim: int, exists: Callable[[int], bool]) -> Query:  # noqa: ANN401
    """A question from JSON that anybody may have written.

    Args:
        values: ``{"terms": [{"id" or "embedding", "sign"}], "k", "label", "folder"}``.
        dim: Dimension of the embeddings.
        exists: Whether an id is of the index.

    Raises:
        ValueError: In one sentence.
    """
    if not isinstance(values, dict) or not isinstance(terms := values.get("terms"), list):
        raise ValueError("a query must have terms")
    if len(terms) > MOST_TERMS:
        raise ValueError(f"a query has at most {MOST_TERMS} images")
    k = values.get("k")
    if type(k) is not int or not 1 <= k <= MOST_RESULTS:
        raise ValueError(f"k must be a number from 1 to {MOST_RESULTS}")
    label, folder = values.get("label"), values.get("folder")
    if label is not None and (type(label) is not int or not -1 <= label < 1 << 62):
        raise ValueError("label must be a number or null")
    if not isinstance(folder, str | None):
        raise ValueError("folder must be text or null")
    signed: dict[int, list[Any]] = {1: [], -1: []}
    for term in terms:
        if not isinstance(term, dict) or term.get("sign") not in (1, -1):
            raise ValueError("a term must have a sign, 1 or -1")
        signed[int(term["sign"])].append(_term(term, dim, exists))
    return Query(like=signed[1], unlike=signed[-1], k=k, label=label, folder=folder)


def _term(
    term: dict[str, Any], dim: int, exists: Callable[[int], bool]
) -> int | Float[np.ndarray, " dim"]:
    if isinstance(text := term.get("embedding"), str):
        return unpack(text, dim)
    if type(row := term.get("id")) is not int or not exists(row):
        raise ValueError("the index has no such row (anymore)")
    return row


def direction(index: Index, query: Query) -> Float[Tensor, "1 dim"]:
    """The mean of what results are like less half the mean of what they are unlike (Rocchio).

    Raises:
        ValueError: If nothing remains.
    """
    total = torch.zeros(1, 1)
    for terms, weight in ((query.like, 1.0), (query.unlike, -UNLIKE)):
        if terms:
            rows = torch.stack([_embedding(index, term) for term in terms])
            total = total + weight * F.normalize(rows, dim=1).mean(dim=0, keepdim=True)
    if not total.norm() > LEAST:
        raise ValueError("the images of the query cancel each other")
    return total


def _embedding(index: Index, term: int | Float[np.ndarray, " dim"]) -> Float[Tensor, " dim"]:
    return index.embeddings([term])[0] if isinstance(term, int) else torch.from_numpy(term)


def answer(index: Index, query: Query) -> Answer:
    """The nearest rows that pass the filter, without those of the query itself.

    Without images, some rows of the filter, spread over the index.
    """
    filtered = query.label is not None or query.folder is not None
    among = index.where(label=query.label, folder=query.folder) if filtered else None
    if not query.like and not query.unlike:
        ids = (index.where() if among is None else among).nonzero()[0]
        spread = np.linspace(0, max(len(ids) - 1, 0), min(query.k, len(ids))).round()
        return Answer(ids[spread.astype(int)].tolist(), None)
    own = query.ids
    scores, ids = index.search(direction(index, query), query.k + len(own), among=among)
    others = ~torch.isin(ids[0], torch.tensor(own, dtype=torch.int64))
    return Answer(ids[0][others][: query.k].tolist(), scores[0][others][: query.k].tolist())
