"""What smaller embeddings cost, on rows whose answer is known."""

import json

import numpy as np
import pytest
import torch

from ssl_dml.commands.evaluate import main
from ssl_dml.evaluation import retrieval
from ssl_dml.evaluation.compact import compact, compact_table
from ssl_dml.tables import EmbeddingTable, TableBatch, TableInfo, write_table


def clusters(classes=12, each=10, dim=16, noise=0.8, seed=0):
    """Rows around centers, whose first values hold most of what tells them apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(each)
    scale = torch.linspace(2.0, 0.1, dim)
    centers = torch.randn(classes, dim, generator=generator) * scale
    rows = centers[labels] + noise * scale * torch.randn(len(labels), dim, generator=generator)
    return EmbeddingTable(embeddings=rows, labels=labels)


def test_the_whole_is_retrieval_and_costs_nothing():
    table = clusters()
    found = compact(table, dims=[4])
    expected = retrieval(table, ks=[1])["recall_at_1"]
    assert found["prefix_16_float32_recall_at_1"] == pytest.approx(expected)
    assert found["prefix_16_float32_cost"] == 0
    assert found["prefix_16_float32_same"] == 1
    low, high = (found[f"prefix_16_float32_recall_at_1_{end}"] for end in ("low", "high"))
    assert low < expected < high


def test_a_prefix_is_retrieval_by_its_values():
    table = clusters()
    found = compact(table, dims=[4])
    first = EmbeddingTable(embeddings=table.embeddings[:, :4], labels=table.labels)
    expected = retrieval(first, ks=[1])["recall_at_1"]
    assert found["prefix_4_float32_recall_at_1"] == pytest.approx(expected)
    whole = found["prefix_16_float32_recall_at_1"]
    assert found["prefix_4_float32_cost"] == pytest.approx(whole - expected)


def test_bytes_of_a_row():
    found = compact(clusters(), dims=[4])
    sizes = {name: found[f"prefix_16_{name}_bytes"] for name in ("float32", "float16", "int8")}
    assert sizes == {"float32": 64, "float16": 32, "int8": 20}
    assert found["prefix_16_bit_bytes"] == found["prefix_16_bit_rescored_bytes"] == 2
    assert found["pca_4_int8_bytes"] == 8


def test_queries_of_another_table_and_a_sample_of_them():
    gallery, query = clusters(), clusters(seed=1)
    found = compact(gallery, query, dims=[], most_queries=7, groups="samples")
    other = compact(gallery, query, dims=[], most_queries=7, groups="samples")
    keys = [key for key in found if not key.endswith("milliseconds")]
    assert [found[key] for key in keys] == [other[key] for key in keys]
    assert (7 * found["prefix_16_float32_recall_at_1"]) % 1 == pytest.approx(0, abs=1e-9)


def test_rescoring_brings_back_what_bits_lose():
    found = compact(clusters(noise=1.0, each=30), dims=[])
    assert found["prefix_16_bit_rescored_same"] > found["prefix_16_bit_same"] + 0.1
    all_again = compact(clusters(noise=1.0, each=30), dims=[], rescoring=40)
    assert all_again["prefix_16_bit_rescored_same"] == 1
    assert all_again["prefix_16_bit_rescored_cost"] == 0


def test_as_a_table_from_large_to_small():
    lines = compact_table(compact(clusters(), dims=[4])).splitlines()
    sizes = [int(line.split()[1]) for line in lines[1:]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(lines) == 1 + 5 * 3
    assert "prefix_4_int8" in "\n".join(lines)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dims": [0]}, "dims must be from 1 to 16, got 0"),
        ({"dims": [4, 17]}, "dims must be from 1 to 16, got 17"),
        ({"rescoring": 0}, "rescoring must be at least 1"),
        ({"most_queries": 0}, "most_queries must be at least 1"),
    ],
)
def test_what_cannot_be_is_named(given, words):
    with pytest.raises(ValueError, match=words):
        compact(clusters(), **given)


def test_rows_that_cannot_be_searched_are_named():
    table = clusters(each=1)
    with pytest.raises(ValueError, match="no query has another row of its class"):
        compact(table)
    rows = clusters().embeddings.clone()
    rows[3, 2] = torch.nan
    with pytest.raises(ValueError, match="gallery holds NaN"):
        compact(EmbeddingTable(embeddings=rows, labels=clusters().labels))
    narrow = EmbeddingTable(embeddings=rows[:, :4].nan_to_num(), labels=clusters().labels)
    with pytest.raises(ValueError, match="of one dimension, got 16 and 4"):
        compact(clusters(), narrow)


def test_the_command_prints_and_writes_it(tmp_path, capsys):
    table = clusters()
    names = [f"{i}.png" for i in range(len(table.labels))]
    batch = TableBatch(names=names, labels=table.labels, embeddings=table.embeddings)
    info = TableInfo(rows=0, dim=16, class_names=[str(i) for i in range(12)])
    write_table(tmp_path / "t", info, [batch])
    main(["--config", "compact", "--gallery", str(tmp_path / "t"), "--compact.dims", "[4]"])
    printed = capsys.readouterr().out
    assert "120 rows of" in printed
    assert "prefix_4_bit_rescored" in printed
    written = json.loads((tmp_path / "t/compact.json").read_text())
    ours = compact(table, dims=[4])
    for key in ours.keys() - {key for key in ours if key.endswith("milliseconds")}:
        assert np.isclose(written[key], ours[key])
