import os
import time

import numpy as np
import pytest
import soundfile
from PIL import Image

from ssl_dml.data import folders as folders_module
from ssl_dml.data import known as module
from ssl_dml.data.known import Paths, names_below
from ssl_dml.data.opening import open_source
from ssl_dml.data.sequences import SequenceConfig, open_sequences

LONG_AGO = time.time_ns() - 10**12


def settle(root):
    """Files that nobody has changed for a while."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, ns=(LONG_AGO, LONG_AGO), follow_symlinks=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images of two classes in two splits, and processes that share them."""
    monkeypatch.setattr(folders_module, "LEAST", 4)
    root = tmp_path / "images"
    for number in range(6):
        path = root / ("test" if number > 3 else "train") / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(path)
    (root / "README").write_text("no image")
    settle(root)
    return root


def opened(root, cache, split="train", **given):
    given = {"image_column": "image", "label_column": "label", **given}
    return open_source(str(root), split, cache_dir=cache, **given)


def facts(source):
    """All that is told of a source."""
    told = ("labels", "class_names", "fingerprint", "stamp", "notes", "labeled_by")
    return [*(getattr(source, one) for one in told), [source.name(i) for i in range(len(source))]]


@pytest.fixture
def walks(monkeypatch):
    """Folders that were looked through."""
    seen, find_files = [], folders_module.find_files
    monkeypatch.setattr(
        folders_module, "find_files", lambda *a: (seen.append(a[0]), find_files(*a))[1]
    )
    return seen


def test_a_folder_is_looked_through_once_and_told_of_alike(folder, tmp_path, walks):
    cache = tmp_path / "cache"
    for split in ("train", "test"):
        first, again = (opened(folder, cache, split) for _ in range(2))
        assert isinstance(again.paths, Paths)
        assert facts(again) == facts(first) == facts(opened(folder, None, split))
        assert np.array_equal(again.read(1), first.read(1))
    assert len(walks) == 4  # two of them without a cache


def test_that_there_is_no_such_split_is_known_too(folder, tmp_path, walks):
    assert [opened(folder / "train", tmp_path, "test") for _ in range(3)] == [None] * 3
    assert len(walks) == 1


def new(folder):
    Image.new("L", (4, 4)).save(folder / "train" / "a" / "9.png")


def gone(folder):
    (folder / "train" / "a" / "0.png").unlink()


def renamed(folder):
    (folder / "train" / "a" / "0.png").rename(folder / "train" / "a" / "7.png")


def moved(folder):
    (folder / "train" / "a" / "0.png").rename(folder / "train" / "b" / "0.png")


def in_place(folder):
    """Another image of the same size in the same inode."""
    path = folder / "train" / "b" / "3.png"
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content[:-1] + b"x")


def longer(folder):
    """With the former time of change."""
    path = folder / "train" / "b" / "3.png"
    path.write_bytes(path.read_bytes() + b"x")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))


def without_suffix(folder):
    """What was left out for what is in it is an image now."""
    Image.new("L", (4, 4)).save(folder / "x.png")
    content = (folder / "x.png").read_bytes()
    (folder / "x.png").unlink()
    with (folder / "README").open("r+b") as file:
        file.write(content)
    os.utime(folder, ns=(LONG_AGO, LONG_AGO))


def class_renamed(folder):
    (folder / "train" / "a").rename(folder / "train" / "c")


def exchanged(folder):
    """A class is another folder, with files of the same names, sizes and times."""
    former, other = folder / "train" / "a", folder / "train" / "other"
    other.mkdir()
    for path in former.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
        path.unlink()
    former.rmdir()
    other.rename(former)
    settle(folder)


CHANGES = [
    new, gone, renamed, moved, in_place, longer, without_suffix, class_renamed, exchanged
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(folder, tmp_path, walks, change):
    opened(folder, tmp_path / "cache")
    opened(folder, tmp_path / "cache")
    assert len(walks) == 1
    change(folder)
    after = opened(folder, tmp_path / "cache")
    assert len(walks) == 2
    assert facts(after) == facts(opened(folder, None))


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_file_that_is_not_drawn_is_looked_at_beside_the_run(
    folder, tmp_path, walks, capsys, monkeypatch, platform
):
    monkeypatch.setattr(module, "DRAWN", 1)
    monkeypatch.setattr(module.sys, "platform", platform)
    cache = tmp_path / "cache"
    before = facts(opened(folder, cache))
    for _ in range(2):
        assert facts(opened(folder, cache)) == before
    drawn = np.random.default_rng(0).permutation(5)[0]  # of four images of the split, and README
    path = opened(folder, cache).paths[int(drawn == 0)]
    with path.open("r+b") as file:
        file.write(path.read_bytes()[:-1] + b"x")
    assert facts(opened(folder, cache)) == before  # known as it was
    for _ in range(200):
        if not list(cache.glob("folder-*.npz")):
            break
        time.sleep(0.01)
    assert f"warning: a file below {folder} was written over" in capsys.readouterr().out
    assert len(walks) == 1
    assert facts(opened(folder, cache)) == facts(opened(folder, None)) != before


def test_files_that_were_changed_just_now_are_looked_for_again(folder, tmp_path, walks):
    os.utime(folder / "train" / "a" / "0.png")
    for _ in range(2):
        opened(folder, tmp_path / "cache")
    assert len(walks) == 2


def test_links_that_lead_back_are_looked_at_each_time(folder, tmp_path, walks):
    (folder / "train" / "a" / "up").symlink_to(folder)
    settle(folder)
    for _ in range(2):
        opened(folder, tmp_path / "cache")
    assert len(walks) == 2


def test_a_link_to_nothing_and_names_that_are_no_text_are_known(folder, tmp_path, walks):
    (folder / "train" / "a" / os.fsdecode(b"caf\xe9.png")).symlink_to(folder / "gone")
    settle(folder)
    first, again = (opened(folder, tmp_path / "cache") for _ in range(2))
    assert len(walks) == 1
    assert facts(again) == facts(first)


@pytest.mark.parametrize("hurt", [b"", b"half", None])
def test_a_damaged_record_is_written_again(folder, tmp_path, walks, hurt):
    before = facts(opened(folder, tmp_path / "cache"))
    (place,) = (tmp_path / "cache").glob("folder-*.npz")
    place.write_bytes(place.read_bytes()[:-50] if hurt is None else hurt)
    assert facts(opened(folder, tmp_path / "cache")) == before
    opened(folder, tmp_path / "cache")
    assert len(walks) == 2


def test_other_rules_are_another_record(folder, tmp_path, walks):
    settings = [{}, {"use_splits": False}]
    found = [opened(folder, tmp_path / "cache", **given) for given in settings * 2]
    assert [len(one) for one in found] == [4, 6, 4, 6]
    assert len(walks) == 2


def test_a_cache_that_cannot_be_written_is_told(folder, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert len(opened(folder, tmp_path / "file")) == 4
    assert "are looked for again: " in capsys.readouterr().out


def test_few_files_are_not_remembered(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(folders_module, "LEAST", 7)
    opened(folder, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_paths_are_made_when_they_are_asked_for(tmp_path):
    paths = Paths(tmp_path, ["a", "b/c"])
    assert list(paths) == [tmp_path / "a", tmp_path / "b" / "c"]
    assert paths[-1] == tmp_path / "b" / "c"
    assert list(paths[1:]) == [tmp_path / "b" / "c"]
    assert names_below(tmp_path, [*paths, tmp_path]) == ["a", "b/c", ""]


def test_a_folder_of_audio_is_known_too(tmp_path, monkeypatch, walks):
    monkeypatch.setattr(folders_module, "LEAST", 3)
    root = tmp_path / "sounds"
    for number in range(4):
        path = root / "ab"[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.full(80, number / 8), 1000)
    settle(root)
    config = SequenceConfig(sampling_rate=1000)

    def labels():
        given = {"config": config, "channels": None, "label_column": "label"}
        segments, _ = open_sequences(str(root), "train", **given, cache_dir=tmp_path / "cache")
        return segments.labels

    assert labels() == labels() == [0, 0, 1, 1]
    assert len(walks) == 1
    soundfile.write(root / "b" / "9.wav", np.zeros(80), 1000)
    assert labels() == [0, 0, 1, 1, 1]
