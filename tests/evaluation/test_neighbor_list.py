import csv

import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from ssl_dml.evaluation import neighbors, write_neighbors
from ssl_dml.tables import EmbeddingTable


def table(rows, prefix):
    generator = torch.Generator().manual_seed(rows)
    return EmbeddingTable(
        embeddings=torch.randn(rows, 6, generator=generator),
        labels=torch.arange(rows) % 3,
        names=[f"{prefix}/{i}.png" for i in range(rows)],
    )


@pytest.mark.parametrize("separate", [True, False])
def test_neighbors_are_those_of_scikit_learn(separate):
    gallery, query = table(40, "train"), table(7, "test") if separate else None
    queries = gallery if query is None else query
    searcher = NearestNeighbors(n_neighbors=5 + (query is None), metric="cosine")
    far, found = searcher.fit(gallery.embeddings).kneighbors(queries.embeddings)
    ours = {}
    for sample, label, rank, name, other, cosine in neighbors(gallery, query, k=5):
        ours.setdefault(sample, []).append((rank, name, cosine))
        assert other == str(int(gallery.labels[gallery.names.index(name)]))
        assert label == str(int(queries.labels[queries.names.index(sample)]))
    assert len(ours) == len(queries.labels)
    for row, sample in enumerate(queries.names):
        start = 1 if query is None else 0
        expected = [gallery.names[i] for i in found[row, start:]]
        assert [name for _, name, _ in ours[sample]] == expected
        assert [rank for rank, _, _ in ours[sample]] == [1, 2, 3, 4, 5]
        assert [c for _, _, c in ours[sample]] == pytest.approx(1 - far[row, start:], abs=1e-5)


def test_a_small_gallery_and_tables_without_names():
    rows = torch.eye(3)
    plain = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 1, 1]))
    found = list(neighbors(plain, k=10, class_names=["cat", "dog"]))
    assert len(found) == 3 * 2
    assert {row[:2] for row in found} == {("0", "cat"), ("1", "dog"), ("2", "dog")}


def test_the_table_keeps_odd_names(tmp_path):
    names = ['a, "b".png', "\ud0ac\uc2dc.png", "broken \udcff.png"]
    rows = EmbeddingTable(embeddings=torch.eye(3), labels=torch.arange(3), names=names)
    write_neighbors(tmp_path / "neighbors.csv", neighbors(rows, k=1))
    with (tmp_path / "neighbors.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["sample"] for row in read] == [*names[:2], "broken \\udcff.png"]


def test_names_need_one_entry_a_row():
    with pytest.raises(ValueError, match="names need one entry a row: 1 for 3 rows"):
        EmbeddingTable(embeddings=torch.eye(3), labels=torch.arange(3), names=["a"])
