import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from ssl_dml.reporting.charts import HEIGHT, LEFT, WIDTH, Series, legend_of, lines, number, ticks


def drawn(series, **options):
    given = {"title": "a <title>", "x_label": "step", **options}
    return ET.fromstring(lines(series, **given).replace("&nbsp;", " "))


def points(figure):
    texts = [line.get("points") for line in figure.iter("polyline")]
    return [[tuple(map(float, p.split(","))) for p in text.split()] for text in texts]


def test_a_line_rises_where_its_values_rise():
    (line,) = points(drawn([Series(name="a", x=[0.0, 1.0, 2.0], y=[1.0, 2.0, 4.0])]))
    assert [x for x, _ in line] == sorted(x for x, _ in line)
    assert [y for _, y in line] == sorted((y for _, y in line), reverse=True)
    (x0, y0), (x1, y1), (x2, y2) = line
    assert x2 - x1 == pytest.approx(x1 - x0, abs=0.2)
    assert y2 - y1 == pytest.approx(2 * (y1 - y0), abs=0.2)
    assert all(LEFT <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line)


def test_values_that_are_not_finite_are_left_out():
    values = [1.0, math.nan, math.inf, 2.0]
    (line,) = points(drawn([Series(name="a", x=[0.0, 1.0, 2.0, 3.0], y=values)]))
    assert len(line) == 2
    assert lines([Series(name="a", x=[0.0], y=[math.nan])], title="t", x_label="x") == ""


def test_many_points_become_their_means():
    many = Series(
        name="a", x=[float(i) for i in range(3000)], y=[float(i % 2) for i in range(3000)]
    )
    (line,) = points(drawn([many]))
    assert 200 <= len(line) <= 300
    assert len({y for _, y in line}) <= 2


def test_a_logarithmic_axis_has_powers_of_ten():
    figure = drawn(
        [Series(name="a", x=[1e-3, 1e-2, 1e-1, 1.0], y=[0.0, 0.1, 0.5, 1.0])], log_x=True
    )
    (line,) = points(figure)
    steps = [b[0] - a[0] for a, b in pairwise(line)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2)
    assert {"0.001", "0.01", "0.1", "1"} <= {t.text for t in figure.iter("text")}


def test_bars_stand_on_zero():
    figure = drawn([Series(name="a", x=[0.0, 1.0], y=[1.0, 3.0])], bars=True)
    low, high = list(figure.iter("rect"))
    assert float(high.get("height")) == pytest.approx(3 * float(low.get("height")), abs=0.2)


def test_text_is_escaped_and_several_series_are_named():
    two = [Series(name="<b>", x=[0.0, 1.0], y=[0.0, 1.0]), Series(name="c", x=[], y=[])]
    figure = drawn(two)
    assert "".join(figure.itertext()).startswith("a <title>")
    assert "&lt;b&gt;" in legend_of(["<b>"])
    assert "<b>" in "".join(figure.itertext())


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, 6), (-3.0, 7.0, 5), (1e-6, 3e-6, 5), (0.0, 123_456.0, 3), (5.0, 5.001, 6)],
)
def test_ticks_are_few_round_and_inside(low, high, expected):
    found = ticks(low, high)
    assert len(found) == expected
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    assert number(found[0])
