import io
import zipfile

import pytest
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data.members import archives_at, members_of


def test_archives_of_a_file_a_glob_and_a_folder(tmp_path):
    for name in ("b.zip", "a.tar"):
        (tmp_path / name).touch()
    assert archives_at(tmp_path / "b.zip") == [tmp_path / "b.zip"]
    assert archives_at(tmp_path / "*.tar") == [tmp_path / "a.tar"]
    assert archives_at(tmp_path) == [tmp_path / "a.tar", tmp_path / "b.zip"]
    assert archives_at(tmp_path / "c.zip") == []


def test_a_folder_with_an_image_is_one_of_images(tmp_path):
    (tmp_path / "a.zip").touch()
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    assert archives_at(tmp_path) == []


def test_members_of_a_zip_file_are_read_by_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/", b"")
        archive.writestr("x/1.left.png", b"123")
    damaged = []
    (member,) = members_of(tmp_path / "a.zip", damaged)
    assert (member.read(), member.size, damaged) == (b"123", 3, [])
    assert member.key == (tmp_path / "a.zip", "x/1")


def test_damage_is_told_and_what_comes_before_it_given(tmp_path):
    damaged = []
    (tmp_path / "a.zip").write_bytes(b"PK")
    assert list(members_of(tmp_path / "a.zip", damaged)) == []
    assert damaged == [f"{tmp_path}/a.zip cannot be read: File is not a zip file"]


def test_an_encrypted_archive_is_refused(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("1.png", b"123")
    data = bytearray(file.getvalue())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag of the entry in the directory
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ConfigError, match="is encrypted: unpack it"):
        list(members_of(tmp_path / "a.zip", []))
