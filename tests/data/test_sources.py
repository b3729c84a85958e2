import os
import shutil
from pathlib import Path

from PIL import Image

from ssl_dml.data import DataConfig, load_train
from ssl_dml.data.folders import FolderSource
from ssl_dml.data.sources import fingerprint


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)


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


def test_names_that_are_no_text_and_links_to_nothing(tmp_path):
    image(tmp_path / "1.png")
    (tmp_path / "1.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    (tmp_path / "2.png").symlink_to(tmp_path / "gone")
    source = FolderSource(tmp_path)
    assert [source.name(i) for i in range(2)] == [f"{tmp_path}/2.png", f"{tmp_path}/caf\\xe9.png"]
    assert source.read(1).size == (4, 4)
    before = source.fingerprint
    Image.new("L", (4, 4)).save(tmp_path / "gone", "PNG")
    assert FolderSource(tmp_path).fingerprint != before


def test_a_file_that_vanishes_is_in_the_fingerprint(tmp_path):
    image(tmp_path / "1.png")
    paths = [tmp_path / "1.png", tmp_path / "2.png"]
    assert fingerprint(tmp_path, paths) != fingerprint(tmp_path, paths[:1])


def test_names_of_a_data_set_follow_its_rows(tmp_path):
    for name in "abcd":
        Image.new("L", (4, 4)).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"damaged")
    config = DataConfig(source=str(tmp_path), on_error="skip", cache_dir=tmp_path / "cache")
    names = load_train(config).names
    assert [Path(name).name for name in names] == ["a.png", "c.png", "d.png"]
    assert [Path(name).name for name in names[1:]] == ["c.png", "d.png"]
    assert [Path(name).name for name in names.at([2, 0, 2])] == ["d.png", "a.png", "d.png"]
    assert len(names) == 3
