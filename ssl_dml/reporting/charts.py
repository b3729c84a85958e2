"""Charts as SVG, of text alone; colors are those of the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 12, 40
TICKS = 5
MOST_POINTS = 300
COLORS = 10  # of the style sheet: s0 to s9
SMALL, LARGE = 1e-3, 1e5


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line of a chart, or bars.

    Args:
        name: What the legend calls it.
        x: Ascending positions.
        y: Values; those that are not finite are left out.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]


def lines(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str = "",
    log_x: bool = False,
    bars: bool = False,
    legend: bool = True,
) -> str:
    """A chart of some series over one axis.

    Args:
        series: What is drawn; each has a color of its own.
        title: For people who do not see it.
        x_label: Below the horizontal axis.
        y_label: Beside the vertical axis.
        log_x: Whether the horizontal axis is logarithmic; positions are above 0 then.
        bars: Whether each value is a bar that begins at its position, from 0 up.
        legend: Whether several series are named.
    """
    points = [_points(one, log_x) for one in series]
    flat = [point for part in points for point in part]
    if not flat:
        return ""
    across = _range([x for x, _ in flat])
    up = _range([y for _, y in flat] + ([0.0] if bars else []))
    parts = [_axes(across, up, x_label, y_label, log_x)]
    for number, part in enumerate(points):
        placed = [(_place_x(x, across), _place_y(y, up)) for x, y in part]
        draw = _bars if bars else _line
        parts.append(draw(placed, f"s{number % COLORS}", _place_y(max(up[0], 0.0), up)))
    key = legend_of([one.name for one in series]) if legend and len(series) > 1 else ""
    return (
        f'<figure class="chart"><figcaption>{escape(title)}{key}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def number(value: float) -> str:
    """A number as an axis shows it.

    >>> number(0.25), number(1200.0), number(3e-5), number(2.0)
    ('0.25', '1,200', '3e-05', '2')
    """
    if value != 0 and not SMALL <= abs(value) < LARGE:
        return f"{value:.3g}"
    return f"{value:,.4f}".rstrip("0").rstrip(".")


def ticks(low: float, high: float) -> list[float]:
    """Round numbers in a range, some five of them.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    step = 10.0 ** math.floor(math.log10((high - low) / TICKS))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= TICKS + 1e-9)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _points(series: Series, log_x: bool) -> list[tuple[float, float]]:
    """At most some hundred points of a series; several become their mean."""
    both = [
        (math.log10(x) if log_x else float(x), float(y))
        for x, y in zip(series.x, series.y, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    size = math.ceil(len(both) / MOST_POINTS)
    chunks = [both[i : i + size] for i in range(0, len(both), max(1, size))]
    return [(c[-1][0], sum(y for _, y in c) / len(c)) for c in chunks]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    space = (high - low) * 0.04
    return (low - space, high + space) if high > low else (low - 0.5, high + 0.5)


def _place_x(x: float, across: tuple[float, float]) -> float:
    return LEFT + (x - across[0]) / (across[1] - across[0]) * (WIDTH - LEFT - RIGHT)


def _place_y(y: float, up: tuple[float, float]) -> float:
    return HEIGHT - BOTTOM - (y - up[0]) / (up[1] - up[0]) * (HEIGHT - TOP - BOTTOM)


def _line(placed: list[tuple[float, float]], color: str, _: float) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    few = placed if len(placed) <= MOST_POINTS // 10 else []
    dots = "".join(f'<circle class="{color}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in few)
    return f'<polyline class="line {color}" points="{path}"/>{dots}'


def _bars(placed: list[tuple[float, float]], color: str, floor: float) -> str:
    width = placed[1][0] - placed[0][0] if len(placed) > 1 else 10.0
    return "".join(
        f'<rect class="bar {color}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{max(0.0, floor - y):.1f}"/>'
        for x, y in placed
    )


def _axes(
    across: tuple[float, float], up: tuple[float, float], x_label: str, y_label: str, log_x: bool
) -> str:
    parts = list[str]()
    for y in ticks(*up):
        at = _place_y(y, up)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" class="end">{number(y)}</text>')
    base = HEIGHT - BOTTOM
    wanted = [t for t in ticks(*across) if not log_x or t == int(t)]
    for x in wanted:
        words = number(10**x) if log_x else number(x)
        at = _place_x(x, across)
        parts.append(f'<path class="grid" d="M{at:.1f} {base}v4"/>')
        parts.append(f'<text x="{at:.1f}" y="{base + 16}" class="middle">{words}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" class="middle">{escape(x_label)}</text>')
    if y_label:
        at = (TOP + base) / 2
        turned = f'transform="translate(11 {at}) rotate(-90)" class="middle"'
        parts.append(f"<text {turned}>{escape(y_label)}</text>")
    return "".join(parts)


def legend_of(names: Sequence[str]) -> str:
    """Names of series, each after a square in its color."""
    return "".join(
        f' <span class="key s{i % COLORS}">■</span>&nbsp;{escape(name)}'
        for i, name in enumerate(names)
    )
