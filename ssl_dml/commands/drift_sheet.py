"""What a test of drift found, in words and as a page."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import ssl_dml
from ssl_dml.reporting.page import Page
from ssl_dml.reporting.sections import Shown, add_pairs


def told(values: Mapping[str, Any]) -> list[str]:
    """The verdict, then a line for each statistic.

    Args:
        values: What ``drift.json`` says.
    """
    return [verdict(values), *(f"  {name:26} {what:44} p {p}" for name, what, p in _rows(values))]


def verdict(values: Mapping[str, Any]) -> str:
    """One sentence."""
    count, total, level = values["samples"], values["chosen_from"], values["level"]
    known = f"{values['reference']['samples']:,} {values['reference']['of']}"
    some = f"{count:,} samples" if count == total else f"{count:,} of {total:,} samples"
    where = f"{some} of {values['source']}"
    chance = f"p = {values['p']:.3g} (level {level:g}), beside {known}"
    if values["differs"]:
        return f"{where} differ from those of training: {chance}"
    return f"{where} are like those of training as far as can be seen: {chance}"


def _rows(values: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name of each statistic, what it found, and its own p-value."""
    kernel, outside, company = values["kernel"], values["outside"], values["company"]
    most = values["clusters"][0]
    return [
        ("kernel two-sample test", f"squared discrepancy {kernel['mmd2']:.5f}", _p(kernel["p"])),
        (
            "outside the radius",
            f"of new samples {outside['value']:.1%}, of training 1%",
            _p(outside["p"]),
        ),
        (
            "new beside new",
            f"squared excess among 16 neighbors {company['value']:.2f}",
            _p(company["p"]),
        ),
        (
            "cluster that grew most",
            f"of new samples {most['new']:.1%}, of training {most['reference']:.1%}",
            _p(values["growth"]["p"]),
        ),
    ]


def _p(value: float) -> str:
    return f"{value:.3g}"


def page_of(values: Mapping[str, Any], new: Shown, known: Shown) -> str:
    """The page as HTML.

    Args:
        values: What ``drift.json`` says.
        new: The most unlike samples.
        known: The sample of training nearest to each.
    """
    radius = values["outside"]["radius"]
    page = Page(
        title=f"Drift of {values['source']}",
        subtitle=f"{datetime.now():%Y-%m-%d %H:%M}, ssl_dml {ssl_dml.__version__}, "
        f"model {values['run']}",
    )
    page.chapter("Verdict")
    page.text(verdict(values) + ".")
    page.table(["statistic", "found", "its own p"], _rows(values))
    page.text(
        "The p-value of the verdict is that of the three together: the fraction of random "
        "divisions of the same samples that look as different."
    )
    _clusters(page, values)
    page.chapter("Most unlike samples")
    page.text(
        "New samples farthest from every sample of training, the farthest first, each with its "
        f"distance; below it the nearest of training. The radius is {radius:.3f}."
    )
    add_pairs(page, new, known, [f"{one['distance']:.3f}" for one in values["unlike"]])
    return page.html(f"Made by ssl_dml {ssl_dml.__version__}; it loads nothing from anywhere.")


def _clusters(page: Page, values: Mapping[str, Any]) -> None:
    """Add the clusters that hold more new samples than chance gives, or the first of all."""
    page.chapter("Clusters")
    clusters = values["clusters"]
    if clusters[0]["p"] > values["level"]:
        page.text("No cluster holds more new samples than chance gives. The one that grew most:")
    for one in clusters:
        page.text(
            f"Of new samples {one['new']:.1%}, of training {one['reference']:.1%}, p "
            f"{_p(one['p'])}: around {one['nearest_new']}, and of training "
            f"{one['nearest_reference']}"
        )
