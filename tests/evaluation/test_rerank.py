import numpy as np
import pytest
import torch

from ssl_dml.evaluation.rerank import Rerank, reranker
from ssl_dml.evaluation.search import nearest
from ssl_dml.types import ConfigError


def reference(query, gallery, k1, k2, weight):
    """The loops of the authors' code, with whole matrices, over squared Euclidean distances."""
    rows = np.concatenate([query, gallery])
    original = ((rows[:, None] - rows) ** 2).sum(axis=2)
    original = (original / original.max(axis=0)).T
    count, ranks = len(rows), np.argsort(original, axis=1, kind="stable")
    weights = np.zeros_like(original)

    def reciprocal(i, k):
        forward = ranks[i, : k + 1]
        return forward[[i in ranks[j, : k + 1] for j in forward]]

    for i in range(count):
        own = reciprocal(i, k1)
        expanded = own
        for candidate in own:
            theirs = reciprocal(candidate, round(k1 / 2))
            if len(np.intersect1d(theirs, own)) > 2 / 3 * len(theirs):
                expanded = np.append(expanded, theirs)
        expanded = np.unique(expanded)
        values = np.exp(-original[i, expanded])
        weights[i, expanded] = values / values.sum()
    if k2 > 1:
        weights = np.stack([weights[ranks[i, :k2]].mean(axis=0) for i in range(count)])
    shared = np.minimum(weights[:, None], weights).sum(axis=2)
    jaccard = 1 - shared / (2 - shared)
    return ((1 - weight) * jaccard + weight * original)[: len(query), len(query) :]


def clusters(rows, seed):
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(8, 6, generator=torch.Generator().manual_seed(9))
    return centers[torch.arange(rows) % 8] + torch.randn(rows, 6, generator=generator)


@pytest.mark.parametrize(("k1", "k2", "weight"), [(10, 4, 0.3), (7, 1, 0.0), (20, 6, 0.5)])
def test_the_order_is_that_of_whole_matrices(k1, k2, weight):
    query, gallery = clusters(12, 1), clusters(60, 2)
    expected = reference(query.double().numpy(), gallery.double().numpy(), k1, k2, weight)
    config = Rerank(k1=k1, k2=k2, weight=weight, candidates=60)
    order = reranker(gallery, query, config, metric="euclidean")
    ((rows, near),) = nearest(gallery, query, torch.full((12,), 60), metric="euclidean")
    found = order(rows, near)
    values = np.take_along_axis(expected[rows.numpy()], found.numpy(), axis=1)
    assert (np.diff(values, axis=1) > -1e-6).all()
    assert found.sort(dim=1).values.tolist() == [[*range(60)]] * 12
    assert (found != near).any()


def test_candidates_alone_change_their_order():
    rows = clusters(80, 3)
    order = reranker(rows, None, Rerank(candidates=9), metric="cosine")
    ((some, near),) = nearest(rows, None, torch.full((80,), 20), metric="cosine")
    lacking = torch.cat([near[:, :5], torch.full_like(near[:, :1], -1), near[:, 5:]], dim=1)
    found = order(some, lacking)
    assert torch.equal(found[:, 9:], lacking[:, 9:])
    assert torch.equal(found[:, :9].sort(dim=1).values, lacking[:, :9].sort(dim=1).values)
    assert (found[:, 8] == -1).all()


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"weight": 1.5}, {"candidates": 0}])
def test_parameters_out_of_range_are_named(wrong):
    with pytest.raises(ConfigError, match=f"rerank.{next(iter(wrong))} must be"):
        Rerank(**wrong)
