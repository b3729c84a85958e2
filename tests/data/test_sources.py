import shutil

import datasets
import numpy as np
import pytest
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data.sources import FolderSource, open_source


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)


def opened(where, split="train"):
    return open_source(str(where), split, image_column="image", label_column="label")


@pytest.mark.parametrize(("name", "train", "test", "classes"), [
    ("fashion_mini", 10_000, 2_000, 10), ("hangul", 10_080, 4_320, 420),
])  # fmt: skip
def test_embedded_samples(name, train, test, classes):
    source = opened(name)
    assert len(source) == train
    assert len(opened(name, "test")) == test
    assert len(source.class_names) == classes == len(set(source.labels))
    assert source.read(0).mode == "L"


def test_folder_with_classes(tmp_path):
    for name in ("b/2.png", "a/1.png", "a/.hidden.png", "b/notes.txt"):
        image(tmp_path / name) if name.endswith("png") else (tmp_path / name).touch()
    source = opened(tmp_path)
    assert [source.name(i) for i in range(2)] == [str(tmp_path / n) for n in ("a/1.png", "b/2.png")]
    assert source.class_names == ["a", "b"]
    assert source.labels == [0, 1]


@pytest.mark.parametrize("names", [["1.png", "a/2.png"], ["a/1.png", "a/2.png"], ["1.png"]])
def test_folder_without_classes(tmp_path, names):
    for name in names:
        image(tmp_path / name)
    assert opened(tmp_path).labels is None


def test_folder_with_train_and_val(tmp_path):
    for name in ("train/a/1.png", "train/b/2.png", "val/b/3.png", "val/a/4.png", "val/a/5.png"):
        image(tmp_path / name)
    assert len(opened(tmp_path)) == 2
    assert len(opened(tmp_path, "test")) == 3


def test_a_folder_called_test_beside_other_classes_is_a_class(tmp_path):
    for name in ("test/1.png", "other/2.png"):
        image(tmp_path / name)
    assert opened(tmp_path).class_names == ["other", "test"]
    assert opened(tmp_path, "test") is None


def test_fingerprint_changes_with_the_images(tmp_path):
    image(tmp_path / "1.png")
    before = FolderSource(tmp_path).fingerprint
    assert FolderSource(tmp_path).fingerprint == before
    image(tmp_path / "2.png")
    assert FolderSource(tmp_path).fingerprint != before


def test_a_copy_has_the_fingerprint_and_another_stamp(tmp_path):
    image(tmp_path / "one" / "1.png")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (FolderSource(tmp_path / name) for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    assert one.stamp != two.stamp


def test_missing_labels_are_minus_one(tmp_path):
    table(["x", None, "y"]).to_parquet(tmp_path / "x.parquet")
    source = opened(tmp_path / "x.parquet")
    assert source.labels == [0, -1, 1]
    assert source.class_names == ["x", "y"]


def table(labels):
    images = [Image.new("L", (4, 4), v) for v in range(len(labels))]
    return datasets.Dataset.from_dict({"image": images, "label": labels}).cast_column(
        "image", datasets.Image()
    )


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


def test_parquet_file_folder_and_glob(tmp_path):
    data = table(["x", "y", "x"])
    for name in ("train-0.parquet", "train-1.parquet", "test-0.parquet"):
        data.to_parquet(tmp_path / name)
    assert len(opened(tmp_path / "train-0.parquet")) == 3
    assert len(opened(tmp_path)) == 6
    assert len(opened(tmp_path, "test")) == 3
    source = opened(tmp_path / "train-*.parquet")
    assert len(source) == 6
    assert source.class_names == ["x", "y"]
    assert source.labels == [0, 1, 0, 0, 1, 0]
    assert np.asarray(source.read(4)).max() == 1


def test_saved_dataset(tmp_path):
    table([0, 1]).save_to_disk(tmp_path / "one")
    assert len(opened(tmp_path / "one")) == 2
    both = datasets.DatasetDict({"train": table([0, 1]), "test": table([1])})
    both.save_to_disk(tmp_path / "two")
    assert len(opened(tmp_path / "two")) == 2
    assert len(opened(tmp_path / "two", "test")) == 1


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


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("./nowhere", "there is no such file or folder"),
        ("/no/where/at/all", "there is no such file or folder"),
    ],
)
def test_a_missing_folder_is_named(where, words):
    with pytest.raises(ConfigError, match=words):
        opened(where)


def test_a_hub_name_without_a_network_names_the_embedded_samples(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="fashion_mini, hangul") as caught:
        opened("cifar10")
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match="holds no image"):
        opened(tmp_path)


def test_a_missing_column_is_named(tmp_path):
    table([0]).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match=r"image_column 'photo' is not a column .* image"):
        open_source(
            str(tmp_path / "x.parquet"), "train", image_column="photo", label_column="label"
        )


def test_another_kind_of_file_is_named(tmp_path):
    (tmp_path / "x.csv").touch()
    with pytest.raises(ConfigError, match="neither a folder nor a parquet file"):
        opened(tmp_path / "x.csv")
