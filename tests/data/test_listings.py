"""CSV, TSV and parquet files that list images and audio, as other tools write them."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data import DataConfig, load_test, load_train
from ssl_dml.data.opening import open_source
from ssl_dml.data.sequences import SequenceConfig


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(4):
        Image.new("L", (4, 4), number).save(tmp_path / f"images/{number}.png")
    return tmp_path


def opened(where, split="train", image_column="image", **given):
    return open_source(str(where), split, image_column=image_column, label_column="label", **given)


def values(source):
    return [int(np.asarray(source.read(i)).max()) for i in range(len(source))]


def write(folder, *lines, name="list.csv", encoding="utf-8"):
    (folder / name).write_bytes("\n".join(lines).encode(encoding))
    return folder / name


@pytest.mark.parametrize("between", [",", ";", "\t", "|"])
def test_paths_are_relative_to_the_file_and_labels_are_a_column(images, between):
    lines = ["image,label", "images/2.png,cat", "images/0.png,", "./images/1.png,ant"]
    source = opened(write(images, *(line.replace(",", between) for line in lines)))
    assert values(source) == [2, 0, 1]
    assert source.class_names == ["ant", "cat"]
    assert source.labels == [1, -1, 0]
    assert source.name(0) == str(images / "images/2.png")
    assert source.labeled_by == "column 'label'"


def test_another_column_of_paths_is_found_and_said(images):
    path = write(images, "id,file_name,width", "1,images/3.png,4", "2,images/1.png,4")
    source = opened(path)
    assert values(source) == [3, 1]
    assert "files are those of the column file_name" in source.notes
    assert any("no column label, but id, width" in note for note in source.notes)


def test_several_columns_of_paths_are_asked_about(images):
    path = write(images, "left,right", "images/0.png,images/1.png")
    with pytest.raises(ConfigError, match=r"several columns of files \(left, right\): name one"):
        opened(path)
    assert values(opened(path, image_column="right")) == [1]


@pytest.mark.parametrize(
    ("written", "names"),
    [(["2", "10"], ["2", "10"]), (["2.0", "10"], ["2", "10"]), (["02", "10"], ["02", "10"])],
)
def test_numbers_are_numbers_unless_written_with_zeros(images, written, names):
    rows = [f"images/{number}.png,{text}" for number, text in enumerate(written)]
    assert opened(write(images, "image,label", *rows)).class_names == names


def test_a_column_of_splits_is_used(images):
    path = write(images, "image,label,split", "images/0.png,a,train", "images/1.png,b,train",
                 "images/2.png,b,val")  # fmt: skip
    config = DataConfig(source=str(path))
    train = load_train(config)
    test = load_test(config, train)
    assert test is not None
    assert (len(train), len(test), test.labels.tolist()) == (2, 1, [1])


def test_parquet_may_list_paths(images):
    table = pa.table({"image": ["images/1.png", "images/3.png"], "label": [5, 7]})
    pq.write_table(table, images / "list.parquet")
    source = opened(images / "list.parquet")
    assert values(source) == [1, 3]
    assert source.class_names == ["5", "7"]


def test_audio_by_the_same_route(tmp_path):
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", np.full(800, 0.1 * (number + 1)), 8000)
    path = write(tmp_path, "path,label", "1.wav,high", "0.wav,low")
    config = DataConfig(source=str(path), sequences=SequenceConfig(sampling_rate=8000))
    train = load_train(config)
    assert train.class_names == ["high", "low"]
    assert train.samples[0].mean() > train.samples[1].mean()


def test_a_file_that_is_gone_is_a_damaged_sample(images):
    path = write(images, "image,label", "images/0.png,a", "images/gone.png,b")
    with pytest.raises(ConfigError, match=r"damaged sample .*images/gone\.png"):
        load_train(DataConfig(source=str(path)))
    assert len(load_train(DataConfig(source=str(path), on_error="skip"))) == 1


def test_rows_without_a_path_are_counted(images):
    source = opened(write(images, "image,label", "images/0.png,a", ",b", "images/1.png,b"))
    assert values(source) == [0, 1]
    assert source.labels == [0, 1]
    assert "1 rows without a path left out" in source.notes


def test_other_labels_are_another_data_set(images):
    one = opened(write(images, "image,label", "images/0.png,a", "images/1.png,b"))
    other = opened(write(images, "image,label", "images/0.png,b", "images/1.png,a"))
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("lines", "encoding", "words"),
    [
        ([""], "utf-8", "is empty; write it as CSV in UTF-8 with a header"),
        (["images/0.png,a", "images/1.png,b"], "utf-8", "has no header: its first line names"),
        (["image,label", "images/0.png,café"], "latin-1", "cannot be read: .*write it as CSV"),
        (["image,label", "images/0.png,a,3"], "utf-8", "cannot be read: .*write it as CSV"),
        (["image,label", "images/gone.png,a"], "utf-8", "damaged|No such file"),
        (["a,b", "x,y"], "utf-8", "data.image_column 'image' is not a column of"),
    ],
)
def test_what_cannot_be_read_is_one_line(images, lines, encoding, words):
    path = write(images, *lines, encoding=encoding)
    with pytest.raises(ConfigError, match=words):
        load_train(DataConfig(source=str(path)))


def test_missing_labels_are_classes_if_one_says_so(images):
    rows = ["images/0.png,-1", "images/1.png,5", "images/2.png,", "images/3.png,nan"]
    numbers = write(images, "image,label", *rows)
    assert opened(numbers).labels == [-1, 0, -1, -1]
    source = opened(numbers, missing_labels=False)
    assert source.class_names == ["-1", "5", "nan", "null"]
    assert source.labels == [0, 1, 3, 2]
    rows = ["images/0.png,NaN", "images/1.png,cat", "images/2.png,", "images/3.png,null"]
    words = write(images, "image,label", *rows)
    assert opened(words).class_names == ["NaN", "cat", "null"]
    assert opened(words, missing_labels=False).class_names == ["", "NaN", "cat", "null"]


def test_missing_labels_of_listed_audio_are_classes_if_one_says_so(tmp_path):
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", np.full(100, 0.1), 8000)
    where = write(tmp_path, "file,label", "0.wav,-1", "1.wav,3")
    config = SequenceConfig(sampling_rate=8000)
    for missing, labels in ((True, [-1, 0]), (False, [0, 1])):
        train = load_train(
            DataConfig(
                source=str(where), sequences=config, missing_labels=missing, cache_dir=tmp_path
            )
        )
        assert train.labels is not None
        assert train.labels.tolist() == labels


def test_a_cell_that_names_no_file_is_a_damaged_sample(images):
    os.mkfifo(images / "pipe.png")
    (images / "device.png").symlink_to("/dev/zero")
    (images / "folder.png").mkdir()
    odd = ["pipe.png", "device.png", "folder.png", "a\0b.png", "x" * 5000]
    source = write(images, "image,label", *(f"{name},1" for name in odd), "images/0.png,2")
    found = load_train(DataConfig(source=str(source), on_error="skip"))
    assert len(found) == 1
    said = [line.partition(".png: ")[2] for line in found.damaged]
    assert said[:3] == [
        "is a pipe, and no file",
        "is a device, and no file",
        "is a folder, and no file",
    ]
    assert len(found.damaged) == 5


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["image,image", "images/0.png,images/0.png"], "two columns|exists 2 times"),
        ([",".join(f"c{i}" for i in range(2000)), ",".join("1" * 2000)], "has 2,000 columns"),
    ],
)
def test_columns_that_cannot_be_told_apart_are_one_line(images, lines, reason):
    with pytest.raises(ConfigError, match=reason):
        load_train(DataConfig(source=str(write(images, *lines))))


def test_numbers_of_any_length_are_classes(images):
    rows = [f"images/{i}.png,{text}" for i, text in enumerate(["9" * 30, "9" * 5000, "1"])]
    source = write(images, "image,label", *rows)
    assert len(load_train(DataConfig(source=str(source))).class_names) == 3
