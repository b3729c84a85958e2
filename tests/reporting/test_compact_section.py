"""Smaller embeddings in a report."""

import json

import torch

from ssl_dml.evaluation.compact import compact
from ssl_dml.reporting.compact_section import add_compact
from ssl_dml.reporting.page import Page
from ssl_dml.tables import EmbeddingTable


def added(folder):
    page = Page(title="t", subtitle="s")
    add_compact(page, folder)
    return "\n".join(page.parts)


def test_recall_is_drawn_over_bytes(tmp_path):
    assert added(tmp_path) == ""
    rows = torch.randn(40, 16) + 3 * torch.eye(16)[torch.arange(40) % 4]
    results = compact(EmbeddingTable(embeddings=rows, labels=torch.arange(40) % 4))
    (tmp_path / "compact.json").write_text(json.dumps(results))
    html = added(tmp_path)
    assert html.count("<polyline") == 6
    for words in (
        "prefixes in bits, rescored",
        "principal components",
        "prefix_2_int8",
        "whole, 95% low",
    ):
        assert words in html


def test_a_damaged_file_is_said(tmp_path):
    for text in ("{", "{}", "[1]", '{"prefix_16_int8_bytes": 3}', '{"prefix_16_int8_bytes": "x"}'):
        (tmp_path / "compact.json").write_text(text)
        assert "compact.json is damaged" in added(tmp_path)
