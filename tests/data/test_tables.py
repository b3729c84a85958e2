import datasets
import numpy as np
import pytest
from PIL import Image

from ssl_dml.config import ConfigError
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
