"""A query and its hits, in words and as JSON."""

from pathlib import Path

import pytest

from ssl_dml.commands.search_query import Hit, Query
from ssl_dml.threshold_file import Limits

HITS = [Hit(rank=i + 1, score=s, path=f"{i}.png", class_name=None, id=i)
        for i, s in enumerate((0.9, 0.7, 0.2))]  # fmt: skip


@pytest.mark.parametrize(
    ("threshold", "split"),
    [(0.95, (0, "none is")), (0.8, (1, "the one above is")), (0.7, (2, "the 2 above are"))],
)
def test_a_threshold_stands_below_what_is_the_same(threshold, split):
    query = Query(path=Path("q.png"), hits=HITS, limits=Limits(threshold))
    above, words = query.split
    assert (above, words) == (split[0], f"threshold {threshold:.4f}: {split[1]} the same")
    lines = query.table().splitlines()
    assert lines[1 + above].strip() == words
    assert len(lines) == 5
    assert ("unknown" in lines[0]) is (threshold > HITS[0].score)  # by the threshold, alone


@pytest.mark.parametrize(("unknown", "refused"), [(0.9, False), (0.91, True)])
def test_a_query_without_a_match_is_unknown(unknown, refused):
    query = Query(path=Path("q.png"), hits=HITS, limits=Limits(0.95, unknown))
    assert (query.refusal is not None) is refused
    assert query.plain()["unknown"] is refused
    assert ("unknown" in query.table()) is refused
    assert Query(path=Path("q.png"), hits=[], limits=Limits(known=-1.0)).refusal is not None


def test_without_thresholds_json_says_nothing_of_them():
    found = Query(path=Path("q.png"), hits=HITS[:1]).plain()
    assert set(found) == {"query", "results"}
    assert found["results"][0]["path"] == "0.png"
