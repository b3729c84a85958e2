import re
from itertools import pairwise

import numpy as np
import pytest
import torch

from ssl_dml.distances import Mahalanobis, distances
from ssl_dml.evaluation import search
from ssl_dml.evaluation.search import check_ks, most_similar, nearest
from ssl_dml.types import ConfigError


def cosines_of(gallery, query):
    unit = [x.double().numpy() / np.linalg.norm(x.double().numpy(), axis=1)[:, None] for x in
            (gallery, query)]  # fmt: skip
    return unit[1] @ unit[0].T


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_each_query_is_found_once_with_its_neighbors_in_order(monkeypatch, metric, itself, small):
    if small:
        monkeypatch.setattr(search, "WIDTH", 8)
        monkeypatch.setattr(search, "TILE", 100)
    gallery, query = torch.randn(60, 5), torch.randn(20, 5)
    queries = gallery if itself else query
    depths = torch.randint(0, 9, (len(queries),))
    found = {}
    for rows, near in nearest(gallery, None if itself else query, depths, metric=metric):
        found |= dict(zip(rows.tolist(), near.tolist(), strict=True))
    assert sorted(found) == (depths > 0).nonzero()[:, 0].tolist()
    if metric == "cosine":
        far = -cosines_of(gallery, queries)
    else:
        far = np.linalg.norm(queries.numpy()[:, None] - gallery.numpy(), axis=2)
    for row, near in found.items():
        order = [j for j in np.argsort(far[row]) if not (itself and j == row)]
        assert len(near) >= depths[row]
        assert near == order[: len(near)]


def test_large_offsets_keep_the_order_and_copies_come_lowest_first():
    line = 1e6 + torch.tensor([[0.0], [1.0], [2.5], [1.0]], dtype=torch.float64)
    ((rows, near),) = nearest(line, None, torch.full((4,), 3), metric="euclidean")
    assert rows.tolist() == [0, 1, 2, 3]
    assert near.tolist() == [[1, 3, 2], [3, 0, 2], [1, 3, 0], [1, 0, 2]]


def test_the_fast_search_finds_the_largest_cosines():
    gallery, query = torch.randn(300, 16), 1000 * torch.randn(40, 16)
    cosines, rows = most_similar(gallery, query, 7)
    expected = cosines_of(gallery, query)
    np.testing.assert_array_equal(rows.numpy(), np.argsort(-expected, axis=1)[:, :7])
    np.testing.assert_allclose(cosines.numpy(), -np.sort(-expected, axis=1)[:, :7], atol=1e-6)


@pytest.mark.parametrize("ks", [[], [0], [1, 6]])
def test_ks_out_of_range_are_named(ks):
    check_ks([1, 5], 5)
    with pytest.raises(ValueError, match=rf"^ks must be from 1 to 5, .* got \{ks}"):
        check_ks(ks, 5)
    with pytest.raises(ConfigError, match=r"^retrieval\.ks must be from 1 to 5"):
        check_ks(ks, 5, "retrieval")


@pytest.mark.parametrize(("ks", "possible"), [([1, 6], [1]), ([6, 2, 0], [2]), ([20], [5])])
def test_the_ks_that_are_named_work(ks, possible):
    with pytest.raises(ValueError, match=re.escape(f"got {ks}: set it to {possible}") + "$"):
        check_ks(ks, 5)
    check_ks(possible, 5)


def test_nothing_to_search_has_no_k():
    with pytest.raises(ValueError, match=r"from 1 to 0, .*: give more samples to search"):
        check_ks([1], 0)


def found_of(gallery, query, depths, **options):
    found = {}
    for rows, near in nearest(gallery, query, depths, **options):
        found |= dict(zip(rows.tolist(), near.tolist(), strict=True))
    return {row: near[: depths[row]] for row, near in found.items()}


METRICS = [
    *("cosine", "euclidean", "squared", "dot"),
    Mahalanobis(kind="covariance"),
    Mahalanobis(kind="given", matrix=(torch.eye(5) + 0.4).tolist()),
]


@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_every_metric_has_the_order_of_its_distances(metric):
    gallery, query = 3 + torch.randn(90, 5), torch.randn(20, 5)
    expected = distances(query, gallery, kind=metric).argsort(dim=1)[:, :7]
    found = found_of(gallery, query, torch.full((20,), 7), metric=metric)
    assert [found[row] for row in range(20)] == expected.tolist()


@pytest.mark.parametrize("left_out", ["nothing", "itself", "few", "many"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot"])
def test_candidates_by_float32_give_the_same_to_the_last_tie(monkeypatch, metric, left_out):
    gallery = torch.cat([torch.randn(200, 5), torch.randn(10, 5).repeat(8, 1)])
    query = None if left_out == "itself" else torch.cat([gallery[100:220], torch.randn(40, 5)])
    count, exclude = len(gallery if query is None else query), None
    if left_out in ("few", "many"):
        values = 300 if left_out == "few" else 3
        exclude = torch.randint(values, (len(gallery),)), torch.randint(values, (count,))
    depths, options = torch.randint(0, 12, (count,)), {"metric": metric, "exclude": exclude}
    expected = found_of(gallery, query, depths, **options)
    exact, searched = search._Search.exact, []
    monkeypatch.setattr(search, "FAST", 0)
    monkeypatch.setattr(search, "WIDE", 800)
    monkeypatch.setattr(search._Search, "exact", lambda *a: searched.append(len(a[1])) or exact(*a))
    assert found_of(gallery, query, depths, **options) == expected
    assert sum(searched) < count / 2  # the copies alone are compared in float64


@pytest.mark.parametrize("apart", [0.3, 1e-3, 1e-6])
@pytest.mark.parametrize("rows", ["longer than 0", "some of length 0"])
def test_close_rows_are_in_the_order_of_float64(monkeypatch, rows, apart):
    """Many distances differ by less than float32 can say, also where a query's depth ends."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(420, 64, dtype=torch.double, generator=generator)
    all_rows = (drawn[:20].repeat(21, 1) + apart * drawn).float()
    gallery, query = all_rows[20:] * 7, all_rows[:20]
    if rows == "some of length 0":
        gallery[5:9], query[3] = 0.0, 0.0
    unit = [torch.nn.functional.normalize(x.double(), dim=1).numpy() for x in (query, gallery)]
    far = ((unit[0][:, None] - unit[1]) ** 2).sum(axis=2)
    monkeypatch.setattr(search, "FAST", 0)
    found = found_of(gallery, query, torch.full((20,), 25), metric="cosine")
    for row, near in found.items():
        ranked, nearest_ones = far[row][near], np.sort(far[row])[:25]
        np.testing.assert_allclose(ranked, nearest_ones, rtol=1e-5, atol=1e-15)
        assert all(a < b for a, b in pairwise(near) if far[row][a] == far[row][b])


def test_what_is_left_out_is_not_found_and_what_lacks_is_minus_one():
    line, query = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([[0.1], [2.9]])
    exclude = torch.tensor([5, 6, 6, 6]), torch.tensor([6, 5])
    ((rows, near),) = nearest(
        line, query, torch.tensor([2, 2]), metric="euclidean", exclude=exclude
    )
    assert rows.tolist() == [0, 1]
    assert near.tolist() == [[0, -1], [3, 2]]
