import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ssl_dml.quantized import Levels
from ssl_dml.tables import EmbeddingTable, StoredTable, TableBatch, TableInfo, write_table
from ssl_dml.types import ConfigError

DIM = 12


def batches(rows=10, parts=3, seed=0):
    generator, first = torch.Generator().manual_seed(seed), 0
    for _ in range(parts):
        names = [f"a/{i}.png" for i in range(first, first + rows)]
        labels = torch.arange(rows) % 3 - 1
        embeddings = torch.randn(rows, DIM, generator=generator)
        yield TableBatch(
            names=names, labels=labels, embeddings=embeddings, columns={"camera": list(range(rows))}
        )
        first += rows


def info(**changes):
    return TableInfo(**{"rows": 0, "dim": DIM, "class_names": ["cat", "dog"], **changes})


@pytest.fixture
def stored(tmp_path):
    return write_table(tmp_path / "table", info(), batches())


def test_what_was_written_is_read(stored):
    table = EmbeddingTable.open(stored.folder)
    expected = list(batches())
    assert torch.equal(table.embeddings, torch.cat([b.embeddings for b in expected]))
    assert torch.equal(table.labels, torch.cat([b.labels for b in expected]))
    assert list(table.names) == [name for b in expected for name in b.names]
    assert stored.info.rows == 30
    assert next(stored.batches()).columns == {"camera": list(range(10))}
    assert table.columns == {"camera": [*range(10)] * 3}


def test_some_rows_of_a_table_keep_all_that_is_known_of_them(stored):
    table = stored.load()
    some = table.at(torch.tensor([21, 3]))
    assert torch.equal(some.embeddings, table.embeddings[[21, 3]])
    assert some.labels.tolist() == [0, -1] == table.labels[[21, 3]].tolist()
    assert (some.names, some.columns) == (["a/21.png", "a/3.png"], {"camera": [1, 3]})


def test_columns_need_one_entry_a_row():
    with pytest.raises(ValueError, match="camera need one entry a row: 1 for 2 rows"):
        EmbeddingTable(
            embeddings=torch.eye(2), labels=torch.tensor([0, 1]), columns={"camera": ["a"]}
        )


def test_no_more_rows_at_once_than_are_asked_for(stored):
    assert [len(part.names) for part in stored.batches(rows=4)] == [4, 4, 2] * 3


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 0), ("float16", 2e-3), ("int8", 1 / 254)])
def test_the_error_of_a_type_is_bounded_by_its_step(tmp_path, dtype, bound):
    stored = write_table(tmp_path / "table", info(dtype=dtype), batches())
    expected = torch.cat([b.embeddings for b in batches()])
    most = expected.abs().amax(1, keepdim=True)
    assert ((stored.load().embeddings - expected).abs() <= bound * most + 1e-7).all()


def test_bits_are_signs_of_length_one(tmp_path):
    stored = write_table(tmp_path / "table", info(dtype="bit"), batches())
    found, expected = stored.load().embeddings, torch.cat([b.embeddings for b in batches()])
    assert torch.equal(found > 0, expected > 0)
    assert torch.allclose(found.norm(dim=1), torch.ones(30))
    size = sum(path.stat().st_size for path in stored.folder.glob("*.parquet"))
    assert size < 30 * DIM * 4 + 3 * 4096


def test_bits_are_restored_by_the_levels_that_the_table_keeps(tmp_path):
    rows = torch.cat([b.embeddings for b in batches()]) + 2.0
    levels = {name: row.tolist() for name, row in Levels.of(rows.numpy())._asdict().items()}
    moved = (replace(b, embeddings=b.embeddings + 2.0) for b in batches())
    stored = write_table(tmp_path / "table", info(dtype="bit", levels=levels), moved)
    center, spread = torch.tensor(levels["center"]), torch.tensor(levels["spread"])
    unit = torch.nn.functional.normalize(rows, dim=1)
    expected = torch.where(unit > center, center + spread, center - spread)
    assert torch.allclose(stored.load().embeddings, expected)


def test_a_table_of_an_earlier_version_has_no_levels(stored):
    path = stored.folder / "table.json"
    text = json.loads(path.read_text())
    del text["levels"]
    path.write_text(json.dumps(text))
    assert StoredTable(stored.folder).info == stored.info


def test_embeddings_of_zero_stay_zero(tmp_path):
    batch = TableBatch(names=["a"], labels=torch.tensor([0]), embeddings=torch.zeros(1, DIM))
    stored = write_table(tmp_path / "table", info(dtype="int8"), [batch])
    assert torch.equal(stored.load().embeddings, torch.zeros(1, DIM))


def test_other_tools_read_it(stored):
    datasets, pandas = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    files = sorted(map(str, stored.folder.glob("*.parquet")))
    frame = pandas.concat([pandas.read_parquet(file) for file in files])
    expected = stored.load()
    assert np.array_equal(np.stack(frame["embedding"]), expected.embeddings.numpy())
    assert frame["class"].tolist()[1:3] == ["cat", "dog"]
    assert frame["class"].isna().tolist()[:3] == [True, False, False]
    rows = datasets.Dataset.from_parquet(files)
    assert rows[3]["path"] == "a/3.png"
    assert rows.features["embedding"].length == DIM


def edit(folder, **changes):
    path = folder / "table.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "is of format 2, and this version reads 1; embed again"),
        ({"rows": -1}, "has rows -1, which cannot be"),
        ({"rows": 31}, "holds 30 rows where its table.json says 31"),
        ({"dim": 11}, "has 12 dimensions; table.json says 11"),
        ({"dtype": "int4"}, "has dtype 'int4', which cannot be"),
        ({"class_names": [1]}, "has class_names .*, which cannot be"),
        ({"weights": "a"}, "has weights 'a', which cannot be"),
        ({"levels": {"center": [0.1]}}, "has levels that cannot be: center and spread need 12"),
    ],
)
def test_what_says_something_else_is_refused(stored, change, words):
    edit(stored.folder, **change)
    with pytest.raises(ConfigError, match=words) as error:
        EmbeddingTable.open(stored.folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", "[" * 100_000, '{"format": 1}'])
def test_a_damaged_description_is_named(stored, text):
    (stored.folder / "table.json").write_text(text)
    with pytest.raises(ConfigError, match=r"table\.json"):
        StoredTable(stored.folder)


def test_a_damaged_file_is_named(stored):
    path = stored.folder / "part-00001.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ConfigError, match=r"part-00001\.parquet.*embed again"):
        stored.load()


@pytest.mark.parametrize(
    "columns",
    [
        {"path": ["a"], "label": [0]},
        {"path": ["a"], "label": [0], "embedding": ["x"]},
        {"path": ["a"], "label": ["x"], "embedding": [[0.0] * DIM]},
        {"path": ["a"], "label": [0], "embedding": [["x"] * DIM]},
        {"path": [None], "label": [None], "embedding": [None]},
    ],
)
def test_files_with_other_columns_are_named(stored, columns):
    rows = {name: values * 10 for name, values in columns.items()}
    pq.write_table(pa.table(rows), stored.folder / "part-00001.parquet")
    with pytest.raises(ConfigError, match=r"part-00001\.parquet"):
        stored.load()


def test_an_unfinished_one_is_no_table(stored, tmp_path):
    (stored.folder / "table.json").unlink()
    with pytest.raises(ConfigError, match=r"is unfinished: it lacks table\.json"):
        StoredTable(stored.folder)
    with pytest.raises(ConfigError, match="is no table"):
        StoredTable(tmp_path)


def test_what_fails_leaves_the_older_one(stored):
    def failing():
        yield next(batches(seed=1))
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_table(stored.folder, info(), failing())
    assert StoredTable(stored.folder).load().embeddings.shape == (30, DIM)
    assert sorted(path.name for path in stored.folder.parent.iterdir()) == ["table"]
