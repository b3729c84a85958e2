"""The most similar rows of a segment: of all, or of candidates that are then compared exactly."""

from dataclasses import replace

import faiss
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.index.candidates import DEPTH, MOST_EFFORT, SAMPLED, Candidates
from ssl_dml.index.segment import BLOCK, Segment, SegmentInfo

TILE = 1 << 22  # values of candidates that are compared at once
Ranked = tuple[Float[Tensor, "queries k"], Int[Tensor, "queries k"]]
Live = Bool[np.ndarray, " rows"] | None  # rows that may be found; None for all


def best(
    segment: Segment,
    found: Candidates | None,
    queries: Float[Tensor, "queries dim"],
    k: int,
    *,
    live: Live = None,
    effort: int | None = None,
) -> Ranked:
    """The k largest cosines of each query and their rows; fewer if there are fewer rows.

    Args:
        segment: The rows.
        found: What proposes rows; None to compare all.
        queries: Unit vectors.
        k: Number of neighbors.
        live: Rows that may be found.
        effort: How many rows to propose; None for as many as the segment says.
    """
    possible = segment.info.rows if live is None else int(live.sum())
    k = min(k, possible)
    if found is None or (live is not None and possible <= BLOCK):
        return _of_all(segment, queries, k, live)
    effort = effort or segment.info.effort
    chunks = queries.split(max(1, TILE // (segment.dim * max(1, k) * effort)))
    parts = [_of_some(segment, found, chunk, k, live, effort) for chunk in chunks]
    scores, rows = zip(*parts, strict=True)
    return torch.cat(scores), torch.cat(rows)


def _of_all(segment: Segment, queries: Float[Tensor, "queries dim"], k: int, live: Live) -> Ranked:
    scores, ids = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    wanted = queries.contiguous().numpy()
    for first, part in segment.blocks() if k else ():
        own = torch.arange(len(part))
        if live is not None:
            own = own[torch.from_numpy(live[first : first + len(part)])]
        rows = part if len(own) == len(part) else part[own]
        if len(rows):
            near = min(k, len(rows))
            found = faiss.knn(wanted, rows.numpy(), near, metric=faiss.METRIC_INNER_PRODUCT)
            cosines, places = map(torch.from_numpy, found)
            scores, ids = _merged([scores, cosines], [ids, first + own[places]], k)
    return scores, ids


def _of_some(
    segment: Segment,
    found: Candidates,
    queries: Float[Tensor, "queries dim"],
    k: int,
    live: Live,
    effort: int,
) -> Ranked:
    """Look wider until there are enough rows that may be found, at last at all."""
    wider = 1
    while True:
        rows = found.find(queries, k * wider, effort * wider)
        known = rows >= 0
        if live is not None:
            known &= torch.from_numpy(live)[rows.clamp_min(0)]
        if bool((known.sum(dim=1) >= k).all()):
            break
        wider *= 2
        if k * wider > min(BLOCK, segment.info.rows):
            return _of_all(segment, queries, k, live)
    compared = segment.embeddings(rows.clamp_min(0).numpy())
    cosines = torch.einsum("qd,qcd->qc", queries, compared)
    return _merged([cosines.masked_fill(~known, -torch.inf)], [rows], k)


def _merged(scores: list[Tensor], rows: list[Tensor], k: int) -> Ranked:
    top = torch.cat(scores, dim=1)
    top = top.topk(min(k, top.shape[1]), dim=1)
    return top.values, torch.cat(rows, dim=1).gather(1, top.indices)


def tuned(segment: Segment, found: Candidates, recall: float) -> SegmentInfo:
    """Raise the effort until a search finds so many of the nearest rows, measured on a sample.

    Rows of the segment are the queries, each searching among all the others.
    """
    rows = np.random.default_rng(0).choice(
        segment.info.rows, min(SAMPLED, segment.info.rows), replace=False
    )
    queries = segment.embeddings(rows)
    exact = _others(_of_all(segment, queries, DEPTH + 1, None), rows)
    effort, reached = 1, -1.0
    while True:
        near = _others(best(segment, found, queries, DEPTH + 1, effort=effort), rows)
        # By their cosines, so that of equal rows any counts.
        reached = float((near >= exact[:, -1:] - 1e-6).float().mean())
        if reached >= recall or effort >= MOST_EFFORT:
            return replace(segment.info, effort=effort, recall=round(reached, 4))
        effort *= 2


def _others(ranked: Ranked, own: np.ndarray) -> Float[Tensor, "queries depth"]:
    """Cosines of all but the row itself."""
    scores, rows = ranked
    scores = scores.masked_fill(rows == torch.from_numpy(own)[:, None], -torch.inf)
    return scores.topk(min(DEPTH, scores.shape[1]), dim=1).values
