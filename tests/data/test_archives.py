"""Real tar and zip files, as other tools write them."""

import io
import json
import tarfile
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data import DataConfig, load_test, load_train
from ssl_dml.data.opening import open_source


def png(value, size=(4, 4)):
    file = io.BytesIO()
    Image.new("L", size, value).save(file, "png")
    return file.getvalue()


def tar(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def opened(where, split="train", **given):
    return open_source(str(where), split, image_column="image", label_column="label", **given)


def values(source):
    return [int(np.asarray(source.read(i)).max()) for i in range(len(source))]


@pytest.mark.parametrize("pack", [tar, zipped])
def test_sub_folders_are_classes(tmp_path, pack):
    files = {"icons/cat/1.png": png(1), "icons/ant/2.png": png(2), "icons/cat/3.png": png(3)}
    suffix = "tar" if pack is tar else "zip"
    source = opened(pack(tmp_path / f"a.{suffix}", {**files, "icons/.x.png": b"", "a/b.txt": b"t"}))
    assert values(source) == [1, 2, 3]  # in the order of the archive
    assert source.labels == [1, 0, 1]
    assert source.class_names == ["ant", "cat"]
    assert source.name(1) == str(tmp_path / f"a.{suffix}/icons/ant/2.png")
    assert source.notes == ["files left out: 1 .txt"]


@pytest.mark.parametrize("beside", ["cls", "json"])
def test_files_beside_an_image_give_its_label(tmp_path, beside):
    files = {}
    for number, label in enumerate(["7", "3", None, "7"]):
        files[f"{number:04}.left.png"] = png(number)
        if label is not None:
            text = label if beside == "cls" else json.dumps({"label": int(label), "caption": "x"})
            files[f"{number:04}.{beside}"] = text.encode()
    source = opened(tar(tmp_path / "shard-000000.tar", files))
    assert source.class_names == ["3", "7"]
    assert source.labels == [1, 0, -1, 1]
    assert source.notes == ["1 of 4 samples are unlabeled"]


@pytest.mark.parametrize("pack", [tar, zipped])
def test_labels_that_are_missing_or_classes_if_one_says_so(tmp_path, pack):
    labels = {"0.cls": b"4", "1.cls": b"-1", "3.json": b'{"label": null}', "4.cls": b""}
    path = pack(
        tmp_path / ("a.tar" if pack is tar else "a.zip"),
        {f"{n}.png": png(n) for n in range(5)} | labels,
    )
    source = opened(path)
    assert (source.labels, source.class_names) == ([0, -1, -1, -1, -1], ["4"])
    assert "data.missing_labels false makes classes of" in source.notes[-1]
    source = opened(path, missing_labels=False)
    # Beside the third image there is nothing at all.
    assert source.labels == [1, 0, -1, 3, 2]
    assert source.class_names == ["-1", "4", "", "null"]
    assert source.notes[-1] == "1 of 5 samples are unlabeled"


def test_numbers_and_words_beside_images_are_classes(tmp_path):
    files = {f"{n}.png": png(n) for n in range(3)} | {
        "0.cls": b"cat",
        "1.cls": b"10",
        "2.cls": b"9",
    }
    source = opened(tar(tmp_path / "a.tar", files))
    assert (source.labels, source.class_names) == ([2, 1, 0], ["9", "10", "cat"])


def test_shards_of_a_folder_are_one_source_and_their_names_tell_splits(tmp_path):
    for name, first in (("train-000", 0), ("train-001", 2), ("val-000", 4)):
        files = {f"{n}.png": png(n) for n in (first, first + 1)}
        tar(tmp_path / f"{name}.tar", files | {f"{n}.cls": str(n % 2).encode() for n in range(6)})
    assert values(opened(tmp_path)) == [0, 1, 2, 3]
    assert values(opened(tmp_path, "test")) == [4, 5]
    assert values(opened(tmp_path / "train-*.tar")) == [0, 1, 2, 3]
    assert opened(tmp_path / "train-*.tar", "test") is None
    assert len(opened(tmp_path, use_splits=False)) == 6
    assert opened(tmp_path, "test", use_splits=False) is None


def test_folders_in_an_archive_tell_splits(tmp_path):
    names = ["train/a/0.png", "train/b/1.png", "test/b/2.png"]
    path = zipped(tmp_path / "all.zip", {name: png(n) for n, name in enumerate(names)})
    train = load_train(DataConfig(source=str(path)))
    test = load_test(DataConfig(source=str(path)), train)
    assert test is not None
    assert (len(train), len(test)) == (2, 1)
    assert test.class_names == ["a", "b"]
    assert test.labels.tolist() == [1]


def test_threads_read_the_same(tmp_path):
    path = zipped(tmp_path / "a.zip", {f"{n}.png": png(n, (64, 64)) for n in range(50)})
    source, found = opened(path), {}

    def read(turn):
        found[turn] = values(source)

    threads = [threading.Thread(target=read, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {turn: [*range(50)] for turn in range(4)}


def test_a_copy_has_the_same_fingerprint_and_another_archive_not(tmp_path):
    one = opened(tar(tmp_path / "a/x.tar", {"1.png": png(1)}))
    same = opened(tar(tmp_path / "b/x.tar", {"1.png": png(1)}))
    other = opened(tar(tmp_path / "c/x.tar", {"1.png": png(1), "2.png": png(2)}))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.stamp != same.stamp


def test_damage_within_an_archive_is_that_of_a_sample(tmp_path):
    path = tar(tmp_path / "a.tar", {f"{n}.png": png(n) for n in range(3)})
    path.write_bytes(path.read_bytes()[: 512 * 5 + 20])  # ends within the last image
    with pytest.raises(ConfigError, match=r"a\.tar cannot be read: unexpected end of data"):
        load_train(DataConfig(source=str(path)))
    train = load_train(DataConfig(source=str(path), on_error="skip"))
    assert len(train) == 2
    assert "damaged archives" in train.notes[0]

    data = bytearray(zipped(tmp_path / "a.zip", {"1.png": png(1), "2.png": png(2)}).read_bytes())
    data[40] ^= 0xFF  # within the first image
    (tmp_path / "a.zip").write_bytes(data)
    train = load_train(DataConfig(source=str(tmp_path / "a.zip"), on_error="skip"))
    assert len(train) == 1
    assert "a.zip/1.png" in train.damaged[0]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.tar", b"", "is empty"),
        ("a.tar", b"no archive at all" * 60, "cannot be read"),
        ("a.zip", b"no archive at all", "cannot be read: File is not a zip file"),
        ("a.tar.gz", b"\x1f\x8b", "is compressed, so its images cannot be read in place: unpack"),
    ],
)
def test_what_is_no_archive_is_one_line(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=words):
        opened(tmp_path / name)


def test_an_archive_without_images_says_what_it_holds(tmp_path):
    path = tar(tmp_path / "a.tar", {"1.svg": b"<svg/>", "2.svg": b"<svg/>"})
    with pytest.raises(ConfigError, match=r"no image in it; files left out: 2 \.svg"):
        opened(path)


LABELS = {
    "deep": b'{"label": ' + b"[" * 100_000,
    "large": b" " * (1 << 21) + b'{"label": 1}',
    "no JSON": b"{",
}


@pytest.mark.parametrize("text", LABELS.values(), ids=LABELS)
def test_metadata_that_cannot_be_read_is_no_label(tmp_path, text):
    files = {"a.png": png(1), "a.json": b'{"label": 1}', "b.png": png(2), "b.json": b'{"label": 2}'}
    source = zipped(tmp_path / "a.zip", {**files, "c.png": png(3), "c.json": text})
    assert load_train(DataConfig(source=str(source))).labels.tolist() == [0, 1, -1]


@pytest.mark.parametrize("label", [b'{"label": {"a": 1}}', b'{"label": [1, [2]]}'])
def test_labels_of_another_kind_are_one_line(tmp_path, label):
    source = zipped(tmp_path / "a.zip", {"a.png": png(1), "a.json": label})
    with pytest.raises(ConfigError, match=r"data\.label_column .*cannot be labels"):
        load_train(DataConfig(source=str(source)))


def test_classes_beside_images_may_be_any_text(tmp_path):
    texts = {"a": b"--5", "b": b"9" * 5000, "c": "²".encode(), "d": b"7"}
    files = {f"{name}.png": png(i) for i, name in enumerate(texts)}
    source = zipped(tmp_path / "a.zip", files | {f"{n}.cls": text for n, text in texts.items()})
    assert len(load_train(DataConfig(source=str(source))).class_names) == 4


def test_a_member_that_unpacks_to_gigabytes_is_damage(tmp_path):
    source = tar(tmp_path / "a.tar", {"a.png": png(1), "b.png": png(2)})
    with source.open("r+b") as file:
        large = tarfile.TarInfo("b.png")
        large.size = 1 << 36
        file.seek(1024)
        file.write(large.tobuf(tarfile.GNU_FORMAT))
        file.truncate((1 << 36) + 4096)
    found = load_train(DataConfig(source=str(source), on_error="skip"))
    assert len(found) == 1
    assert "has 68,719,476,736 bytes; of an archive at most" in found.damaged[0]


def test_links_and_paths_out_of_an_archive_are_only_names(tmp_path):
    (tmp_path / "secret.png").write_bytes(png(9))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in [("l.png", tarfile.SYMTYPE), ("h.png", tarfile.LNKTYPE), ("p.png", b"6")]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(tmp_path / "secret.png")
            archive.addfile(info)
        for name in ("../../out.png", "/abs.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png(1))
            archive.addfile(info, io.BytesIO(png(1)))
    before = sorted(path.name for path in tmp_path.iterdir())
    assert len(load_train(DataConfig(source=str(tmp_path / "a.tar")))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("shape", ["(1000000, 1000000, 3)", "(9, 9, 3)", "(-5, 7)"])
def test_an_array_that_promises_more_than_it_has_is_damage(tmp_path, shape):
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    array = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + b"abc"
    source = zipped(tmp_path / "a.zip", {"a.png": png(1), "b.npy": array})
    found = load_train(DataConfig(source=str(source), on_error="skip", channels=1))
    assert (len(found), len(found.damaged)) == (1, 1)
