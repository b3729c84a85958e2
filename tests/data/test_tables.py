import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data import DataConfig, load_train
from ssl_dml.data.opening import open_source


def opened(where, split="train"):
    return open_source(str(where), split, image_column="image", label_column="label")


def table(labels):
    images = [Image.new("L", (4, 4), v) for v in range(len(labels))]
    return datasets.Dataset.from_dict({"image": images, "label": labels}).cast_column(
        "image", datasets.Image()
    )


def test_missing_labels_are_minus_one(tmp_path):
    table(["x", None, "y"]).to_parquet(tmp_path / "x.parquet")
    source = opened(tmp_path / "x.parquet")
    assert source.labels == [0, -1, 1]
    assert source.class_names == ["x", "y"]


def test_a_list_of_numbers_is_a_label(tmp_path):
    images = [Image.fromarray(np.full((4, 4), i, np.uint8)) for i in range(4)]
    poses = [[0.5, -1.0], [0.25, 2.0], None, [0.5, -1.0]]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.List(datasets.Value("float32"))}
    )
    data = datasets.Dataset.from_dict({"image": images, "label": poses}, features)
    data.to_parquet(str(tmp_path / "x.parquet"))
    source = opened(tmp_path / "x.parquet", "train")
    assert source.class_names == ["0.25 2.0", "0.5 -1.0"]
    assert source.labels == [1, 0, -1, 1]


def test_a_reordered_table_keeps_its_order(tmp_path):
    table([5, 6, 7]).select([2, 0]).save_to_disk(tmp_path / "two")
    source = opened(tmp_path / "two")
    assert [np.asarray(source.read(i)).max() for i in range(2)] == [2, 0]
    assert [source.class_names[label] for label in source.labels] == ["7", "5"]


def test_table_of_arrays(tmp_path):
    array = np.arange(2 * 4 * 4 * 5, dtype=np.uint8).reshape(2, 4, 4, 5)
    features = datasets.Features({"image": datasets.Array3D((4, 4, 5), "uint8")})
    data = datasets.Dataset.from_dict({"image": list(array)}, features=features)
    data.to_parquet(tmp_path / "x.parquet")
    source = opened(tmp_path / "x.parquet")
    assert source.labels is None
    assert np.array_equal(source.read(1), array[1])


def test_a_missing_column_is_named(tmp_path):
    table([0]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=r"image_column 'photo' is not a column .* image"):
        open_source(
            str(tmp_path / "x.parquet"), "train", image_column="photo", label_column="label"
        )


@pytest.mark.parametrize(("labels", "expected", "names"), [
    ([0, -1, 3], [0, -1, 1], ["0", "3"]),
    ([0.0, float("nan"), 3.0], [0, -1, 1], ["0", "3"]),
    ([2.0, -1.0, 10.0], [0, -1, 1], ["2", "10"]),
    (["a", "", "b"], [0, -1, 1], ["a", "b"]),
    ([1, -1, -2], [2, 1, 0], ["-2", "-1", "1"]),
    ([0.5, -1.0, 1.0], [1, 0, 2], ["-1.0", "0.5", "1.0"]),
    (["-1", "a", "nan"], [0, 1, 2], ["-1", "a", "nan"]),
    ([True, False, None], [1, 0, -1], ["False", "True"]),
])  # fmt: skip
def test_labels_that_are_missing(tmp_path, labels, expected, names):
    table(labels).to_parquet(tmp_path / "x.parquet")
    source = opened(tmp_path / "x.parquet")
    assert (source.labels, source.class_names) == (expected, names)
    missing = expected.count(-1)
    hint = "; data.missing_labels false makes classes of null, NaN, empty and -1"
    assert source.notes == ([f"{missing} of 3 samples are unlabeled{hint}"] if missing else [])


@pytest.mark.parametrize(("labels", "expected", "names"), [
    ([0, -1, 3, None], [1, 0, 2, 3], ["-1", "0", "3", "null"]),
    ([0.0, float("nan"), 3.0, -1.0], [1, 3, 2, 0], ["-1", "0", "3", "nan"]),
    (["a", "", None, " "], [2, 0, 3, 1], ["", " ", "a", "null"]),
    ([[1.0, 2.0], [], None, [float("nan")]], [0, -1, 1, -1], ["1.0 2.0", "null"]),
])  # fmt: skip
def test_values_that_are_classes_if_one_says_so(tmp_path, labels, expected, names):
    data = table(labels)
    data.to_parquet(tmp_path / "x.parquet")
    config = DataConfig(
        source=str(tmp_path / "x.parquet"), missing_labels=False, cache_dir=tmp_path / "cache"
    )
    train = load_train(config)
    assert train.labels is not None
    assert (train.labels.tolist(), train.class_names) == (expected, names)
    assert all("missing_labels" not in note for note in train.notes)


def test_numbered_classes_have_no_name_for_a_missing_one(tmp_path):
    feature = datasets.ClassLabel(names=["ant", "bee"])
    table([0, None, 1, -1]).cast_column("label", feature).to_parquet(tmp_path / "x.parquet")
    for given in ({}, {"missing_labels": False}):
        source = open_source(
            str(tmp_path / "x.parquet"),
            "train",
            image_column="image",
            label_column="label",
            **given,
        )
        assert (source.labels, source.class_names) == ([0, -1, 1, -1], ["ant", "bee"])
        assert source.notes == ["2 of 4 samples are unlabeled"]


def test_values_that_cannot_be_labels_are_named(tmp_path):
    table([{"x": 1}, {"x": 2}]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=r"data.label_column 'label' holds dict"):
        opened(tmp_path / "x.parquet")


def test_other_columns_are_said_where_that_of_labels_is_missing(tmp_path):
    data = table([0, 1]).rename_column("label", "digit").add_column("place", ["x", "y"])
    data.to_parquet(tmp_path / "x.parquet")
    source = opened(tmp_path / "x.parquet")
    assert source.labels is None
    assert source.notes == [
        "no labels: no column label, but digit, place; data.label_column names one"
    ]


@pytest.mark.parametrize("kind", ["image", "struct", "binary"])
def test_the_only_column_of_images_is_taken(tmp_path, kind):
    data = table([0, 1]).rename_column("image", "img")
    path = tmp_path / "x.parquet"
    data.to_parquet(path)
    if kind != "image":
        plain = pa.parquet.read_table(path).replace_schema_metadata(None)
        if kind == "binary":
            content = plain["img"].combine_chunks().field("bytes")
            plain = plain.set_column(plain.schema.get_field_index("img"), "img", content)
        pa.parquet.write_table(plain, path)
    source = opened(path)
    assert np.asarray(source.read(1)).max() == 1
    assert source.notes == ["images are those of the column img"]


def test_several_columns_of_images_are_asked_about(tmp_path):
    data = table([0, 1]).rename_column("image", "left")
    data = data.add_column(
        "right", list(data.cast_column("left", datasets.Image(decode=False))["left"])
    )
    data.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(
        ConfigError, match=r"\(left, right\): name one of them, as in --data.image_c"
    ):
        opened(tmp_path / "x.parquet")


@pytest.mark.parametrize("column", ["split", "Usage"])
def test_a_column_tells_splits(tmp_path, column):
    data = table([0, 1, 2]).add_column(column, ["Training", "PublicTest", "Training"])
    data.to_parquet(tmp_path / "x.parquet")
    data.save_to_disk(tmp_path / "saved")
    for name in ("x.parquet", "saved"):
        source, held = opened(tmp_path / name), opened(tmp_path / name, "test")
        assert [np.asarray(source.read(i)).max() for i in range(2)] == [0, 2]
        assert source.class_names == ["0", "2"]
        assert (len(held), held.class_names) == (1, ["1"])
        assert f"column {column}: splits by name: Training to train on" in source.notes[0]
        assert source.fingerprint != held.fingerprint


def test_a_column_of_splits_that_does_not_tell_is_asked_about(tmp_path):
    table([0, 1, 2]).add_column("split", ["train", None, "x"]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(
        ConfigError, match=r"column split' mixes .*\(train\) with others \(\(missing"
    ):
        opened(tmp_path / "x.parquet")
    one = table([0, 1, 2]).add_column("split", [1, 2, 3])
    one.to_parquet(tmp_path / "x.parquet")
    assert len(opened(tmp_path / "x.parquet")) == 3


def test_a_damaged_cell_is_said(tmp_path):
    data = datasets.Dataset.from_dict({"image": [None, b"no", b""], "label": [0, 1, 1]})
    data.to_parquet(tmp_path / "x.parquet")
    source = opened(tmp_path / "x.parquet")
    for index, words in enumerate(["is empty", "is no image that Pillow can read", "is empty"]):
        with pytest.raises(ValueError, match=words):
            source.read(index)
