"""The page of an audit: chapters, what is shown, and what it proposes to drop."""

import json
import re

from PIL import Image

from ssl_dml.evaluation.audit import Finding
from ssl_dml.reporting.audit_page import Known, audit_page, chapter_of, shown

EVIL = '"><script>alert(1)</script>.png'
KNOWN = Known(
    names=["a/0.png", "a/1.png", EVIL, "b/3.png"],
    classes=["cat", "cat", "", "dog"],
    splits=["train", "test", "train", "train"],
    images={0: Image.new("L", (8, 8)), 2: Image.new("RGB", (8, 8))},
)


def finding(kind, row, other=-1, **more):
    return Finding(kind=kind, row=row, other=other, score=0.5, reason=f"{kind} & more", **more)


def page(findings, most=10):
    return audit_page(findings, KNOWN, source="pics", summary=["S"], most=most, footer="F")


def test_a_leak_is_a_chapter_of_its_own_and_a_chapter_has_so_many():
    leak = finding("duplicate", 0, 1, leak=True)
    copies = [finding("duplicate", 0, 1), finding("duplicate", 2, 3)]
    assert [chapter_of(one) for one in (leak, *copies)] == ["leak", "duplicate", "duplicate"]
    assert shown([*copies, leak], 1) == [leak, copies[0]]
    html = page([*copies, leak], most=1)
    assert html.index("Leaks</h2>") < html.index("Duplicates</h2>")
    assert "1 of 2 are shown; the table has all." in html
    assert "Outliers" not in html


def test_names_and_reasons_are_text():
    html = page([finding("outlier", 2, 3)])
    assert "<script>alert" not in html
    assert "outlier &amp; more" in html
    assert html.count("data:image/") == 1  # the other has no image
    assert "<span>train dog</span>" in html


def test_drops_that_are_not_shown_are_on_the_list_all_the_same():
    found = [finding("duplicate", row, 3, drop=True) for row in (0, 1)]
    html = page(found, most=1)
    lists = re.findall(r"<script type=.application/json.>(.*?)</script>", html, re.DOTALL)
    assert json.loads(lists[-1]) == ["a/1.png"]
    assert html.count('data-drop="1"') == 1
