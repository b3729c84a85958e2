import os

import pytest

from ssl_dml.data.walk import any_below, find_files, suffix_of


def found(root, suffix=".png"):
    return find_files(root, lambda path: suffix_of(path) == suffix)


def inside(root):
    return [str(path.relative_to(root)) for path in found(root).paths]


@pytest.fixture
def touch(tmp_path):
    def create(*names):
        for name in names:
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name).touch()
        return tmp_path / "in"

    return create


def test_files_are_sorted_and_others_counted(touch):
    root = touch(
        "b.png", "a/2.PNG", "x.txt", "README", ".hidden.png", ".git/1.png", "__MACOSX/1.png"
    )
    assert inside(root) == ["a/2.PNG", "b.png"]
    assert found(root).left_out == {".txt": 1, "without suffix": 1}
    assert found(root).notes({".txt": "why"}) == ["files left out: 1 .txt (why), 1 without suffix"]
    assert any_below(root, lambda path: path.name == "README")
    assert not any_below(root, lambda path: path.name == "1.png")


def test_links_to_folders_and_files_are_followed(touch, tmp_path):
    root = touch("a/1.png")
    (tmp_path / "far").mkdir()
    (tmp_path / "far/2.png").touch()
    (root / "b").symlink_to(tmp_path / "far")
    (root / "3.png").symlink_to(tmp_path / "far/2.png")
    (root / "4.png").symlink_to(tmp_path / "gone")
    assert inside(root) == ["3.png", "4.png", "a/1.png", "b/2.png"]


@pytest.mark.parametrize("target", ["..", ".", "../..", "../a"])
def test_loops_are_caught(touch, target):
    root = touch("a/1.png", "b/2.png")
    (root / "a/loop").symlink_to(target)
    assert inside(root) == ["a/1.png", "b/2.png"]
    assert found(root).loops == ["a/loop"]
    assert found(root).notes({}) == ["links left out, to folders read already: a/loop"]


def test_links_across_end(touch):
    root = touch(*(f"{i}/{i}.png" for i in range(7)))
    for i in range(7):
        for j in range(7):
            (root / f"{i}/to{j}").symlink_to(root / str(j))
    assert len(found(root).paths) < 7**3


def test_a_pipe_is_no_file(touch):
    root = touch("1.png")
    os.mkfifo(root / "2.png")
    (root / "3.png").symlink_to(root / "2.png")
    assert inside(root) == ["1.png"]


def test_a_folder_that_cannot_be_opened_is_named(touch, monkeypatch):
    root = touch("a/1.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match="in/a cannot be opened: Permission denied; make it"):
        found(root)


def test_names_that_are_no_text(touch):
    root = touch("1.png")
    (root / "1.png").rename(root / os.fsdecode(b"caf\xe9.png"))
    assert [os.fsencode(path.name) for path in found(root).paths] == [b"caf\xe9.png"]
