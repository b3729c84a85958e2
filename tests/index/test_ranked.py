import numpy as np
import pytest
import torch
import torch.nn.functional as F
from indexes import clustered, stored

from ssl_dml.index import ranked
from ssl_dml.index.candidates import candidates
from ssl_dml.index.index import build_index
from ssl_dml.index.ranked import best, tuned


@pytest.fixture
def segment(tmp_path):
    table = stored(tmp_path / "table", rows=2000)
    return build_index(table, tmp_path / "index", memory=10**9, kind="ivf")._segments[0]


@pytest.fixture
def queries():
    return F.normalize(clustered(30, seed=6), dim=1)


@pytest.mark.parametrize("block", [7, 1999, 10**6])
def test_blocks_change_nothing(segment, queries, monkeypatch, block):
    expected = best(segment, None, queries, 9)
    monkeypatch.setattr("ssl_dml.index.segment.BLOCK", block)
    found = best(segment, None, queries, 9)
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-6)


def test_a_search_looks_wider_until_there_are_enough(segment, queries, monkeypatch):
    """Most of what one list proposes may not be found."""
    monkeypatch.setattr(ranked, "BLOCK", 100)  # the live rows are too many to compare all
    live = np.arange(2000) % 9 == 0
    scores, rows = best(segment, candidates(segment), queries, 20, live=live, effort=1)
    assert rows.shape == (30, 20)
    assert (rows % 9 == 0).all()
    assert scores.isfinite().all()
    exact = best(segment, None, queries, 20, live=live)
    assert (scores[:, 0] <= exact[0][:, 0] + 1e-3).all()


def test_more_than_any_list_has_are_compared_all(segment, queries):
    live = np.arange(2000) < 1990
    found = best(segment, candidates(segment), queries, 1990, live=live, effort=1)
    assert (found[1].sort(dim=1).values == torch.arange(1990)).all()


def test_no_row_may_be_found(segment, queries):
    scores, rows = best(segment, candidates(segment), queries, 5, live=np.zeros(2000, bool))
    assert scores.shape == rows.shape == (30, 0)


def test_the_effort_rises_with_the_recall_that_is_wanted(segment):
    found = candidates(segment)
    low, high = (tuned(segment, found, recall) for recall in (0.3, 1.0))
    assert low.effort < high.effort
    assert 0.3 <= low.recall < high.recall


def test_recall_is_that_of_a_count_by_hand(segment):
    found = candidates(segment)
    reached = tuned(segment, found, 0.5)
    every = np.random.default_rng(0).choice(2000, 200, replace=False)
    unit = segment.embeddings(np.arange(2000)).double().numpy()
    hits = 0
    near = best(segment, found, torch.from_numpy(unit[every]).float(), 11, effort=reached.effort)[1]
    for row, own in zip(every, near.tolist(), strict=True):
        cosines = unit @ unit[row]
        cosines[row] = -2
        hits += len({*np.argsort(-cosines)[:10]} & {*own} - {row})
    assert reached.recall == pytest.approx(hits / 2000, abs=2e-3)
