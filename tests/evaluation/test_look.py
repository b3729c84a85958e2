import pytest
import torch

from ssl_dml.evaluation import map as maps
from ssl_dml.evaluation.look import look
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError


@pytest.fixture(autouse=True)
def _no_slow_map(monkeypatch):
    monkeypatch.setattr(maps, "find_spec", lambda _: None)


def table(labels):
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(3).repeat(10)
    rows = 5 * torch.eye(3)[classes] + torch.randn(30, 3, generator=generator)
    return EmbeddingTable(embeddings=rows, labels=labels(classes))


def test_labels_add_what_needs_them():
    seen = look(table(lambda classes: classes))
    assert seen.supervised is not None
    assert seen.supervised.accuracy.low <= seen.supervised.accuracy.mean <= 1
    assert seen.supervised.pairs is not None
    assert len(seen.supervised.pairs.same) == 3 * 45
    assert seen.groups.max() == 2
    assert [name[:3] for name in seen.maps] == ["PCA"]
    assert "ssl_dml[report]" in seen.notes[0]


def test_rows_without_a_label_are_on_the_map_alone():
    seen = look(table(lambda c: torch.where(torch.arange(30) < 6, -1, c)))
    assert seen.supervised is not None
    assert seen.supervised.rows.tolist() == list(range(6, 30))
    assert len(seen.groups) == 30


@pytest.mark.parametrize(
    ("labels", "words"),
    [(lambda c: torch.full_like(c, -1), "no labels"), (torch.zeros_like, "one class alone")],
)
def test_without_classes_it_says_what_is_left_out(labels, words):
    seen = look(table(labels))
    assert seen.supervised is None
    assert seen.notes[-1].startswith(words)


def test_what_cannot_be_looked_at_is_said():
    few = EmbeddingTable(embeddings=torch.eye(2), labels=torch.zeros(2).long())
    with pytest.raises(ConfigError, match="at least 3 embeddings are needed, got 2"):
        look(few)
    bad = EmbeddingTable(embeddings=torch.full((5, 2), torch.nan), labels=torch.zeros(5).long())
    with pytest.raises(ConfigError, match="NaN or infinity"):
        look(bad)
