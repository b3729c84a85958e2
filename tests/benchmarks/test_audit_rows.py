"""Drawn embeddings have wrong labels, and an audit finds them."""

from benchmarks import rows_table
from benchmarks.audit_rows import drawn


def test_labels_are_wrong_in_the_part_that_is_said():
    table, wrong = drawn(5000, 8, 10, 0.1)
    again, _ = drawn(5000, 8, 10, 0.0)
    assert table.embeddings.shape == (5000, 8)
    assert ((table.labels != again.labels) == wrong).all()
    assert 0.08 < wrong.double().mean() < 0.12


def test_seconds_and_memory_are_told(capsys):
    first, second = rows_table(rows=[300, 600], dim=16, classes=4)
    assert second["rows"] == 600
    assert min(first["seconds"], second["seconds"]) > 0
    told = capsys.readouterr().out
    assert "600 rows of 16" in told
    assert "seconds: cost grows with rows" in told
