"""The nearest other rows, against every cosine."""

import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ssl_dml.evaluation import copies
from ssl_dml.evaluation.copies import nearest_others


def expected(rows, k):
    cosines = (F.normalize(rows, dim=1) @ F.normalize(rows, dim=1).T).fill_diagonal_(-2.0)
    return cosines.topk(k, dim=1)


def test_few_rows_are_searched_exactly():
    rows = torch.randn(60, 5) * torch.rand(60, 1)
    near, cosines = nearest_others(rows, 7)
    best = expected(rows, 7)
    assert_close(cosines, best.values, atol=1e-5, rtol=0)
    assert torch.equal(near, best.indices)


def test_an_equal_row_is_not_taken_for_the_row_itself():
    rows = torch.randn(20, 4)[[*range(20), 3, 3]]
    near, cosines = nearest_others(rows, 2)
    assert sorted(near[3].tolist()) == [20, 21]
    assert 20 not in near[20]
    assert_close(cosines[3], torch.ones(2), atol=1e-6, rtol=0)


def test_many_rows_are_searched_in_lists_that_miss_few(monkeypatch):
    monkeypatch.setattr(copies, "EXACT_BELOW", 100)
    rows = torch.randn(40, 8)[torch.arange(800) % 40] + 0.3 * torch.randn(800, 8)
    near, cosines = nearest_others(rows, 3)
    own = torch.arange(800)[:, None]
    assert not (near == own).any()
    assert ((near >= 0) & (near < 800)).all()
    found = (near[:, :, None] == expected(rows, 3).indices[:, None]).any(dim=2)
    assert found.float().mean() > 0.9
    unit = F.normalize(rows, dim=1)
    assert_close(cosines, (unit[own] * unit[near]).sum(dim=2), atol=1e-5, rtol=0)
