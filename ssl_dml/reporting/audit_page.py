"""The page to look through the findings of an audit, and to choose which samples to drop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

from ssl_dml.evaluation.audit import Finding
from ssl_dml.reporting.page import Page, data_script
from ssl_dml.reporting.thumbnails import data_uri

CHAPTERS = {
    "leak": ("Leaks", "Copies of which one is trained on and the other tested on."),
    "duplicate": ("Duplicates", "Samples that are the same, value by value."),
    "near_duplicate": (
        "Near-duplicates",
        "Images of which one is a changed copy of the other: re-encoded, resized, cropped, turned, "
        "brightened or mirrored.",
    ),
    "label": (
        "Doubtful labels",
        "The nearest samples and a linear probe both prefer another class. The image on the right "
        "is of that class.",
    ),
    "outlier": ("Outliers", "Samples far from all others, beside the nearest one."),
    "classes": ("Classes that look like one", "A sample of each class."),
}


@dataclass(frozen=True, kw_only=True)
class Known:
    """What people know the samples by.

    Args:
        names: Path or key of each, as ``data.exclude`` takes it.
        classes: Name of each one's class; empty without.
        splits: ``train`` or ``test``.
        images: Small images of some, by row.
    """

    names: Sequence[str]
    classes: Sequence[str]
    splits: Sequence[str]
    images: Mapping[int, Image.Image]


def chapter_of(one: Finding) -> str:
    """Which chapter of the page a finding is in."""
    return "leak" if one.leak else one.kind


def shown(findings: Sequence[Finding], most: int) -> list[Finding]:
    """The first findings of each chapter, at most so many."""
    return [
        one
        for chapter in CHAPTERS
        for one in [one for one in findings if chapter_of(one) == chapter][:most]
    ]


def audit_page(
    findings: Sequence[Finding],
    known: Known,
    *,
    source: str,
    summary: Sequence[str],
    most: int,
    footer: str,
) -> str:
    """The page as HTML.

    Args:
        findings: All of them.
        known: What people know the samples by.
        source: The data.
        summary: Sentences for its beginning.
        most: Findings of a chapter that are shown.
        footer: Last line.
    """
    page, listed = Page(f"Audit of {source}", "", program="audit.js"), shown(findings, most)
    for words in summary:
        page.text(words)
    page.raw(
        '<div class="bar-top"><button id="download">Download drop.txt</button>'
        '<span id="count" role="status"></span><span class="soft">Arrow keys go through, '
        "d drops the left sample, k keeps it. data.exclude takes the list.</span></div>"
    )
    for chapter, (title, words) in CHAPTERS.items():
        mine = [one for one in listed if chapter_of(one) == chapter]
        if not mine:
            continue
        page.chapter(title)
        page.text(words)
        count = sum(chapter_of(one) == chapter for one in findings)
        if count > len(mine):
            page.note(f"{len(mine):,} of {count:,} are shown; the table has all.")
        for one in mine:
            page.raw(_card(one, known))
    drops = {known.names[one.row] for one in findings if one.drop}
    drops -= {known.names[one.row] for one in listed}
    page.raw(data_script(sorted(drops)))
    return page.html(footer)


def _card(one: Finding, known: Known) -> str:
    figures = "".join(_figure(row, known) for row in (one.row, one.other) if row >= 0)
    name = escape(known.names[one.row], quote=True)
    return (
        f'<div class="finding" data-name="{name}" data-drop="{int(one.drop)}">'
        f'<div class="two">{figures}</div><div class="why">{escape(one.reason)}'
        f'<div class="soft">score {one.score:.3f}</div></div>'
        '<button type="button"></button></div>'
    )


def _figure(row: int, known: Known) -> str:
    image, name = known.images.get(row), known.names[row]
    drawn = (
        '<span class="gone"></span>' if image is None else f'<img alt="" src="{data_uri(image)}">'
    )
    label = " ".join(part for part in (known.splits[row], known.classes[row]) if part)
    return (
        f"<figure>{drawn}<figcaption><span>{escape(label)}</span>"
        f'<span title="{escape(name, quote=True)}">{escape(name.rpartition("/")[2])}</span>'
        "</figcaption></figure>"
    )
