"""What is asked for: images that results are like and unlike, and which rows may be results."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.serve.facets import Facets, Named
from ssl_dml.serve.uploads import unpack

MOST_TERMS, MOST_RESULTS = 32, 200
UNLIKE = 0.5  # weight of what results are not like; at 1, an image would cancel one of its kind
BLOCK = 1 << 13  # rows that are compared at once
MOST_SEEN = 1 << 16  # nearest rows that a filter is looked for among


@runtime_checkable
class Searchable(Protocol):
    """What the page needs of an index."""

    def search(
        self, embeddings: Float[Tensor, "queries dim"], k: int
    ) -> tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]:
        """Cosines and ids of the nearest rows."""
        ...

    def rows(self, ids: Int[Tensor, " rows"]) -> list[Named]:
        """What is known of rows."""
        ...

    def embeddings(self, ids: Int[Tensor, " rows"]) -> Float[Tensor, "rows dim"]:
        """Embeddings of rows."""
        ...

    def thumbnail(self, id: int) -> bytes:
        """A small JPEG or PNG of a row."""
        ...


@dataclass(frozen=True, kw_only=True)
class Query:
    """A question.

    Args:
        like: Embeddings or ids whose mean is searched for.
        unlike: Embeddings or ids of which half the mean is subtracted.
        k: Number of results.
        class_name: The only class of results; None for any.
        folder: The only folder of results, with those below; None for any.
    """

    like: list[int | Float[np.ndarray, " dim"]]
    unlike: list[int | Float[np.ndarray, " dim"]]
    k: int
    class_name: str | None
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
        seen: How many nearest rows were looked at, if there may be more that were not.
    """

    ids: list[int]
    scores: list[float] | None
    seen: int | None = None


def parse_query(values: Any, dim: int, exists: Callable[[int], bool]) -> Query:  # noqa: ANN401
    """A question from JSON that anybody may have written.

    Args:
        values: ``{"terms": [{"id" or "embedding", "sign"}], "k", "class", "folder"}``.
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
    chosen = [values.get(key) for key in ("class", "folder")]
    if not all(name is None or isinstance(name, str) for name in chosen):
        raise ValueError("class and folder must be text or null")
    signed: dict[int, list[Any]] = {1: [], -1: []}
    for term in terms:
        if not isinstance(term, dict) or term.get("sign") not in (1, -1):
            raise ValueError("a term must have a sign, 1 or -1")
        signed[int(term["sign"])].append(_term(term, dim, exists))
    return Query(like=signed[1], unlike=signed[-1], k=k, class_name=chosen[0], folder=chosen[1])


def _term(
    term: dict[str, Any], dim: int, exists: Callable[[int], bool]
) -> int | Float[np.ndarray, " dim"]:
    if isinstance(text := term.get("embedding"), str):
        return unpack(text, dim)
    if type(row := term.get("id")) is not int or not exists(row):
        raise ValueError("the index has no such row (anymore)")
    return row


def direction(index: Searchable, query: Query) -> Float[Tensor, "1 dim"]:
    """The mean of what results are like less half the mean of what they are unlike (Rocchio).

    Raises:
        ValueError: If nothing remains.
    """
    total = torch.zeros(())
    for terms, weight in ((query.like, 1.0), (query.unlike, -UNLIKE)):
        if terms:
            rows = torch.stack([_embedding(index, term) for term in terms])
            total = total + weight * torch.nn.functional.normalize(rows, dim=1).mean(dim=0)
    if not total.norm() > 1e-6:  # noqa: PLR2004
        raise ValueError("the images of the query cancel each other")
    return torch.nn.functional.normalize(total[None], dim=1)


def _embedding(index: Searchable, term: int | Float[np.ndarray, " dim"]) -> Float[Tensor, " dim"]:
    if isinstance(term, int):
        return index.embeddings(torch.tensor([term]))[0].float()
    return torch.from_numpy(term)


def answer(index: Searchable, facets: Facets, query: Query) -> Answer:
    """The nearest rows that pass the filter, without those of the query itself.

    Without images, some rows of the filter, spread over the index. Where a filter leaves at most
    65,536 rows, all of them are compared; where it leaves more, the 65,536 nearest are looked at.

    Raises:
        ValueError: In one sentence, if a class or folder is unknown.
    """
    mask = facets.mask(query.class_name, query.folder)
    if not query.like and not query.unlike:
        ids = facets.ids if mask is None else facets.ids[mask]
        spread = torch.linspace(0, max(len(ids) - 1, 0), min(query.k, len(ids))).round().long()
        return Answer(ids[spread].tolist(), None)
    searched = direction(index, query)
    if mask is not None and int(mask.sum()) <= MOST_SEEN:
        ids = facets.ids[mask]
        parts = [_cosines(index.embeddings(part), searched) for part in ids.split(BLOCK)]
        scores, order = torch.cat(parts or [torch.empty(0)]).sort(descending=True, stable=True)
        return _first(scores, ids[order], query, None)
    return _search(index, facets, query, searched, mask)


def _cosines(
    rows: Float[Tensor, "rows dim"], searched: Float[Tensor, "1 dim"]
) -> Float[Tensor, " rows"]:
    return torch.nn.functional.normalize(rows.float(), dim=1) @ searched[0]


def _search(
    index: Searchable,
    facets: Facets,
    query: Query,
    searched: Float[Tensor, "1 dim"],
    mask: Tensor | None,
) -> Answer:
    """Look at ever more nearest rows until enough of them pass."""
    rows, wanted = len(facets.ids), query.k + len(query.ids)
    seen = min(rows, wanted if mask is None else 4 * wanted)
    while True:
        scores, ids = (found[0] for found in index.search(searched, seen))
        there = ids >= 0  # an approximate index may find fewer
        scores, ids = scores[there], ids[there]
        if mask is not None:
            passing = mask[facets.places(ids)]
            scores, ids = scores[passing], ids[passing]
        last = mask is None or seen >= min(rows, MOST_SEEN)
        if last or len(ids) >= wanted:
            short = mask is not None and len(ids) < wanted and seen < rows
            return _first(scores, ids, query, seen if short else None)
        seen = min(rows, MOST_SEEN, 8 * seen)


def _first(scores: Tensor, ids: Tensor, query: Query, seen: int | None) -> Answer:
    others = ~torch.isin(ids, torch.tensor(query.ids, dtype=torch.int64))
    return Answer(ids[others][: query.k].tolist(), scores[others][: query.k].tolist(), seen)
