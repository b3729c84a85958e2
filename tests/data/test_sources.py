import shutil

from PIL import Image

from ssl_dml.data.folders import FolderSource


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
