import pytest
import torch

from ssl_dml.evaluation.stored import stored_tables
from ssl_dml.tables import TableBatch, TableInfo, write_table
from ssl_dml.types import ConfigError


def stored(folder, names, labels, **info):
    rows = torch.arange(len(labels) * 2.0).reshape(-1, 2)
    batch = TableBatch(
        names=[f"{folder.name}{i}" for i in range(len(labels))],
        labels=torch.tensor(labels),
        embeddings=rows,
    )
    own = {"rows": 0, "dim": 2, "class_names": names, "weights": {"digest": "a"}, **info}
    return write_table(folder, TableInfo(**own), [batch]).folder


def test_classes_are_matched_by_name_and_unlabeled_rows_left_out(tmp_path):
    gallery = stored(tmp_path / "g", ["cat", "dog"], [0, -1, 1])
    query = stored(tmp_path / "q", ["dog", "emu"], [0, 1])
    tables, names = stored_tables(gallery, query)
    assert names == ["cat", "dog", "emu"]
    assert [table.labels.tolist() for table in tables] == [[0, 1], [1, 2]]
    assert tables[0].names == ["g0", "g2"]
    assert tables[0].embeddings.tolist() == [[0, 1], [4, 5]]


def test_other_weights_are_refused(tmp_path):
    gallery = stored(tmp_path / "g", ["cat"], [0])
    query = stored(tmp_path / "q", ["cat"], [0], weights={"digest": "b"})
    with pytest.raises(ConfigError, match="have different weights, a and b: embed both with one"):
        stored_tables(gallery, query)


@pytest.mark.parametrize(("names", "labels"), [(None, [-1, -1]), (["cat"], [-1])])
def test_a_table_without_labels_is_named(tmp_path, names, labels):
    with pytest.raises(ConfigError, match="g has no labels, which this measure needs"):
        stored_tables(stored(tmp_path / "g", names, labels))


def test_rows_without_a_label_are_kept_where_none_is_needed(tmp_path):
    gallery, query = stored(tmp_path / "g", ["cat"], [-1, 0]), stored(tmp_path / "q", None, [-1])
    (one, two), names = stored_tables(gallery, query, labeled=False)
    assert (one.labels.tolist(), two.labels.tolist(), names) == ([-1, 0], [-1], ["cat"])
