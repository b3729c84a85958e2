import re

import pytest
from shown import added, shown

from ssl_dml.evaluation import map as maps
from ssl_dml.evaluation.look import look
from ssl_dml.reporting.page import Page
from ssl_dml.reporting.samples import add_comparison, add_embeddings, add_sheets
from ssl_dml.reporting.sections import Shown
from ssl_dml.tables import EmbeddingTable


@pytest.fixture(autouse=True)
def _no_slow_map(monkeypatch):
    monkeypatch.setattr(maps, "find_spec", lambda _: None)


def test_runs_of_other_samples_are_not_subtracted():
    first, second = shown(), shown(seed=1)
    other = Shown(
        table=EmbeddingTable(embeddings=second.table.embeddings, labels=second.table.labels),
        class_names=second.class_names,
        images=second.images,
        words="others",
    )
    found = {"a": (first, look(first.table)), "b": (second, look(second.table)),
             "c": (other, look(other.table)), "d": "gone"}  # fmt: skip
    html = added(add_comparison, found)
    assert html.count("<tr>") == 4
    assert "other samples" in html
    assert len(re.findall(r">[+-]\d+\.\d% \(", html)) == 1
    sheets = add_sheets(Page(title="t", subtitle="s"), found)
    assert sheets["a"] == sheets["b"] != sheets["c"]
    assert "d" not in sheets


def test_what_is_left_out_is_said():
    html = added(add_embeddings, "the data are <gone>", None, 0)
    assert "left out: the data are &lt;gone&gt;" in html
