"""What a card says of sources and measures."""

import pytest
from scipy.stats import binomtest

from ssl_dml.exporting.card import short, wilson


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (7, 10), (500, 2000), (10, 10)])
def test_the_interval_is_wilsons(hits, count):
    known = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson(hits / count, count) == pytest.approx((known.low, known.high), abs=1e-6)


@pytest.mark.parametrize(
    ("source", "name"),
    [("/home/jane/flowers", "flowers"), ("hf:me/data", "data"), ("fashion_mini", "fashion_mini")],
)
def test_a_source_is_named_without_where_it_is(source, name):
    assert short(source) == name
