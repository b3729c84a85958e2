import os
import shutil

from PIL import Image

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
