import json
import re

import pytest
from shown import added, shown

from ssl_dml.evaluation import map as maps
from ssl_dml.evaluation.look import look
from ssl_dml.reporting.sections import (
    add_confusions,
    add_hubs,
    add_map,
    add_neighbors,
    add_similarities,
)


@pytest.fixture(autouse=True)
def _no_slow_map(monkeypatch):
    monkeypatch.setattr(maps, "find_spec", lambda _: None)


def test_the_map_holds_every_sample_with_what_is_known_of_it():
    columns = {"year": [*range(11), None], "by": ["x"] * 12, "list": [[1]] * 12,
               "none": [None] * 12, "class": [True, *[None] * 11]}  # fmt: skip
    one = shown(columns=columns)
    html = added(add_map, one, look(one.table), "sheet-0", 8)
    values = json.loads(re.search(r'application/json">(.*?)</script>', html)[1])
    assert values["names"] == [f"<i>{i}.png" for i in range(12)]
    assert values["shown"] == [1] * 11 + [0]
    assert values["cell"] == [8, 4]
    found = values["columns"]
    assert list(found) == [
        *("class", "kNN", "cluster", "neighbor of", "isolation", "year", "by", "class (column)"),
    ]
    assert found["class"]["names"] == ["<b>", "cat", "dog"]
    assert found["class"]["values"] == [1, 0, 2] * 3 + [1, 0, -1]
    assert found["kNN"]["values"][11] == -1
    assert (found["year"]["low"], found["year"]["high"]) == (0, 10)
    (points,) = values["maps"].values()
    assert (min(points), max(points)) == (0, 10_000)
    assert "<i>" not in html


def test_neighbors_are_marked_as_hits_and_misses():
    one = shown(noise=0.0)
    html = added(add_neighbors, one, look(one.table), 0)
    assert html.count('class="strip"') == 10
    strips = html.split('class="strip"')[1:]
    known = [strip for strip in strips if "&lt;i&gt;11.png" not in strip.split('title="')[1]]
    for strip in known:
        marks = re.findall(r'class="thumb(?: wide)? (hit|miss|query|)"', strip)
        assert marks[0] == "query"
        assert "hit" in marks[1:4]
    assert html.count("<b>✓") == html.count(' hit"')


def test_confusions_name_the_classes_and_the_samples():
    one = shown(noise=1.0)
    seen = look(one.table)
    html = added(add_confusions, one, seen.supervised)
    assert re.search(r"<p>(cat|dog|&lt;b&gt;) taken for (cat|dog|&lt;b&gt;): \d of [34] \(", html)
    assert f"{seen.supervised.accuracy.mean:.1%} right" in html


def test_hubs_and_outliers_are_in_order():
    one = shown()
    html = added(add_hubs, one, look(one.table))
    counts = [int(count) for count in re.findall(r"<span>of (\d+)</span>", html)]
    assert counts == sorted(counts, reverse=True)
    cosines = [float(cosine) for cosine in re.findall(r"<span>(-?\d\.\d{3})</span>", html)]
    assert cosines == sorted(cosines)
    assert len(counts) == len(cosines) == 12


def test_similarities_have_the_area_below_the_curve():
    one = shown()
    seen = look(one.table)
    html = added(add_similarities, seen.supervised)
    assert f"probability {seen.supervised.pairs.auc():.4f}" in html
    assert html.count("<svg") == 2
