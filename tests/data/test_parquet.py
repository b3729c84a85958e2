import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data.opening import open_source
from ssl_dml.data.parquet import read_parquet

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n"


def save(path, labels=(0, 1), **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [Image.new("L", (4, 4), v) for v in range(len(labels))]
    data = {"image": images, "label": list(labels), **columns}
    table = datasets.Dataset.from_dict(data).cast_column("image", datasets.Image())
    table.to_parquet(path)


def opened(where, split="train", **given):
    return open_source(str(where), split, image_column="image", label_column="label", **given)


@pytest.mark.parametrize(("train", "test"), [
    ("train-00000-of-00001", "validation-00000-of-00001"), ("TRAIN", "TEST"), ("a_trn", "a_val"),
    ("data/train-0", "data/test-0"), ("default/train/0000", "default/test/0000"),
    ("Training/x", "held_out/x"),
])  # fmt: skip
def test_names_of_files_and_folders_tell_splits(tmp_path, train, test):
    save(tmp_path / f"{train}.parquet", [0, 1, 0])
    save(tmp_path / f"{test}.parquet", [1])
    (tmp_path / f"{train}.parquet").with_name("._hidden.parquet").write_bytes(b"x")
    source = opened(tmp_path)
    assert source.labels == [0, 1, 0]
    assert len(opened(tmp_path, "test")) == 1
    assert any(note.startswith("splits by name: ") for note in source.notes)
    assert len(opened(tmp_path, use_splits=False)) == 4
    assert opened(tmp_path, "test", use_splits=False) is None


def test_names_that_do_not_tell_are_asked_about(tmp_path):
    save(tmp_path / "cats.parquet")
    save(tmp_path / "cats_test.parquet")
    with pytest.raises(
        ConfigError, match=r"files that .* \(cats_test\) with others \(cats\): name"
    ):
        opened(tmp_path)
    (tmp_path / "cats.parquet").unlink()
    with pytest.raises(ConfigError, match=r"none to train on: name one of them, as .*use_splits"):
        opened(tmp_path)
    assert len(opened(tmp_path / "cats_test.parquet")) == 2


def test_tables_in_several_folders_are_asked_about(tmp_path):
    for name in ("small/a", "large/a"):
        save(tmp_path / f"{name}.parquet")
    with pytest.raises(ConfigError, match=r"tables in several folders \(large, small\): name one"):
        opened(tmp_path)
    assert len(opened(tmp_path / "small")) == 2


@pytest.mark.parametrize(("content", "words"), [
    (b"", "b.parquet is empty"), (POINTER.encode(), "b.parquet is a pointer of git-lfs"),
    (b"PAR1" * 9, "b.parquet is damaged: "),
])  # fmt: skip
def test_damaged_files_stop_or_are_left_out_by_name(tmp_path, content, words):
    save(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(content)
    with pytest.raises(ConfigError, match=f"{words}.*--data.on_error skip") as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)
    source = opened(tmp_path, skip_damaged=True)
    assert len(source) == 2
    assert words in source.notes[0]
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(ConfigError, match=words):
        opened(tmp_path, skip_damaged=True)


def test_damage_within_a_file_names_it(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.parquet")
    content = bytearray((tmp_path / "b.parquet").read_bytes())
    content[4:200] = bytes(196)
    (tmp_path / "b.parquet").write_bytes(content)
    with pytest.raises(ConfigError, match=r"b.parquet cannot be read: .*; replace it") as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)


def test_other_columns_may_differ(tmp_path):
    save(tmp_path / "a.parquet")
    save(tmp_path / "b.parquet", more=["x", "y"])
    source = opened(tmp_path)
    assert source.labels == [0, 1, 0, 1]
    assert source.notes == ["columns left out, which differ between files: more"]


@pytest.mark.parametrize(("labels", "words"), [
    (["x", "y"], "label is whole numbers in a.parquet and text in b.parquet: write them alike"),
    (None, "label is whole numbers in a.parquet and missing in b.parquet"),
])  # fmt: skip
def test_labels_that_differ_are_named(tmp_path, labels, words):
    save(tmp_path / "a.parquet")
    save(tmp_path / "b.parquet", labels or [0, 1])
    if labels is None:
        table = pa.parquet.read_table(tmp_path / "b.parquet").drop_columns("label")
        pa.parquet.write_table(table.replace_schema_metadata(None), tmp_path / "b.parquet")
    with pytest.raises(ConfigError, match=words):
        opened(tmp_path)


@pytest.mark.parametrize("first", ["a", "b"])
def test_whole_numbers_and_others_are_numbers(tmp_path, first):
    save(tmp_path / f"{first}.parquet", [2, 5])
    save(tmp_path / "c.parquet" if first == "a" else tmp_path / "a.parquet", [5.0, np.nan])
    source = opened(tmp_path)
    assert sorted(source.labels) == [-1, 0, 1, 1]
    assert source.class_names == ["2", "5"]


def test_forms_of_text_are_no_difference(tmp_path):
    for name, kind in (("a", pa.string()), ("b", pa.large_string())):
        column = pa.array(["x", "y"], kind)
        pa.parquet.write_table(pa.table({"label": column}), tmp_path / f"{name}.parquet")
    coded = pa.array(["x", "z"]).dictionary_encode()
    pa.parquet.write_table(pa.table({"label": coded}), tmp_path / "c.parquet")
    files = sorted(tmp_path.glob("*.parquet"))
    table, notes = read_parquet("x", files, columns=["label"], skip_damaged=False)
    assert list(table["label"]) == ["x", "y", "x", "y", "x", "z"]
    assert notes == []


@pytest.mark.parametrize("name", ["data [v2]", "why?", "a*b", "x{1,2}"])
def test_a_name_is_no_pattern(tmp_path, name):
    save(tmp_path / name / "train[1].parquet", [0, 1, 0])
    assert opened(tmp_path / name).labels == [0, 1, 0]
    assert opened(tmp_path / name / "train[1].parquet").labels == [0, 1, 0]


def test_a_value_that_is_repeated_is_not_unpacked(tmp_path, monkeypatch):
    large = [b"\0" * 100_000] * 200
    for name, column in (("a", large), ("b", [{"bytes": value} for value in large])):
        pa.parquet.write_table(pa.table({"image": column}), tmp_path / f"{name}.parquet")
    monkeypatch.setattr("ssl_dml.data.parquet.free_memory", lambda: 10**7)
    for name in ("a", "b"):
        with pytest.raises(ConfigError, match=r"unpacks to 0\.0 GB in one row group"):
            opened(tmp_path / f"{name}.parquet")
    monkeypatch.setattr("ssl_dml.data.parquet.free_memory", lambda: 10**9)
    assert len(opened(tmp_path / "a.parquet")) == 200


def test_odd_tables_are_one_line(tmp_path):
    twice = pa.Table.from_arrays([pa.array([b"1"])] * 2, ["image", "image"])
    empty = pa.table({"image": pa.array([], pa.binary())})
    for table, reason in ((twice, "two columns 'image'"), (empty, "has no rows")):
        pa.parquet.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(ConfigError, match=reason):
            opened(tmp_path / "a.parquet")


def test_a_number_without_a_name_is_no_class(tmp_path):
    names = datasets.Features(
        {"image": datasets.Value("binary"), "label": datasets.ClassLabel(names=["a"])}
    )
    rows = {"image": pa.array([b"1", b"2"]), "label": pa.array([0, 7])}
    table = pa.table(rows).replace_schema_metadata(names.arrow_schema.metadata)
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"label_column 'label' holds 7, .* 1 classes only"):
        opened(tmp_path / "a.parquet")
