import pytest
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data.opening import open_source


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)


def opened(where, split="train"):
    return open_source(str(where), split, image_column="image", label_column="label")


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


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match="holds no image"):
        opened(tmp_path)
