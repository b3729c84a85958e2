"""A table that is written as it is embedded, and goes on where it was stopped."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_dml.data import DataConfig, load_train
from ssl_dml.evaluation import embed_table as module
from ssl_dml.tables import StoredTable


@pytest.mark.parametrize("sizes", [[3, 3, 3], [9], [1] * 9, [2, 7]])
def test_shards_have_so_many_rows_whatever_comes(sizes):
    rows = torch.arange(9.0)[:, None]
    parts = [*module._shards(iter(rows.split(sizes)), 4)]
    assert [len(part) for part in parts] == [4, 4, 1]
    assert torch.equal(torch.cat(parts), rows)


def test_finished_files_are_counted_in_order_and_a_wrong_one_is_named(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, rows in ((0, 4), (1, 4), (3, 1)):
        pq.write_table(pa.table({"a": [0] * rows}), tmp_path / f"part-{number:05d}.parquet")
    assert module._finished_rows(tmp_path, 13, 4) == 8  # the third is missing
    pq.write_table(pa.table({"a": [0] * 3}), tmp_path / "part-00002.parquet")
    with pytest.raises(ValueError, match=r"part-00002.parquet has 3 rows, not those of a file"):
        module._finished_rows(tmp_path, 13, 4)


def test_rows_of_a_batch_have_paths_below_the_source(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(2):
            Image.fromarray(np.full((8, 8), 50 * i, np.uint8)).save(tmp_path / f"{label}/{i}.png")
    samples = load_train(DataConfig(source=str(tmp_path)))
    batch = module._batch(torch.eye(2), samples, torch.tensor([3, 0]), tmp_path)
    assert batch.names == ["b/1.png", "a/0.png"]
    assert batch.labels.tolist() == [1, 0]


def test_what_is_unfinished_is_no_table(tmp_path):
    (tmp_path / "part-00000.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"is unfinished: it lacks table.json"):
        StoredTable(tmp_path)
    (tmp_path / "table.json").write_text(json.dumps({"format": 9}))
    with pytest.raises(ValueError, match=r"table\.json"):
        StoredTable(tmp_path)
