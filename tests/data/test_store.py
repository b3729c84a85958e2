import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_dml.config import ConfigError
from ssl_dml.data.decode import ImageDecoder
from ssl_dml.data.folders import FolderSource
from ssl_dml.data.store import build_store, has_store
from ssl_dml.files import replacing

FORM = ImageDecoder(channels=1, size=4)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for value in range(7):
        Image.new("L", (4, 4), value).save(root / f"{value}.png")
    return root


def build(folder, cache, *, memory=False, disk=False, skip=False, builder=True):
    return build_store(
        FolderSource(folder),
        FORM,
        in_memory=memory,
        on_disk=disk,
        cache_dir=cache,
        skip_damaged=skip,
        builder=builder,
    )


@pytest.mark.parametrize("where", [{"memory": True}, {"disk": True}, {}])
def test_every_home_gives_the_same_pixels(folder, tmp_path, where):
    store = build(folder, tmp_path / "cache", **where)
    rows = store.samples[np.array([5, 0, 5])]
    assert rows.shape == (3, 1, 4, 4)
    assert rows.dtype == np.uint8
    assert rows[:, 0, 0, 0].tolist() == [5, 0, 5]
    assert len(store.samples) == 7


def test_the_file_is_written_once_and_again_when_the_source_changes(folder, tmp_path):
    cache = tmp_path / "cache"
    build(folder, cache, disk=True)
    (written,) = cache.glob("*/pixels.bin")
    stamp = written.stat().st_mtime_ns
    again = build(folder, cache, disk=True, builder=False)  # would wait for ever if it were missing
    assert isinstance(again.samples, np.memmap)
    assert written.stat().st_mtime_ns == stamp
    Image.new("L", (4, 4), 99).save(folder / "9.png")
    assert len(build(folder, cache, disk=True).samples) == 8
    assert len(list(cache.glob("*/pixels.bin"))) == 2


def test_machines_that_share_a_folder_decode_once(folder, tmp_path, run_workers):
    cache, read = tmp_path / "cache", tmp_path / "read"
    run_workers(Path(__file__).parent / "builder.py", 2, folder, cache, read)
    notes = [line.split(" by ") for line in read.read_text().splitlines()]
    assert sorted(index for index, _ in notes) == [str(index) for index in range(7)]
    assert len({by for _, by in notes}) == 1
    (place,) = cache.iterdir()  # and the lock is gone
    assert (place / "store.json").exists()


def test_a_part_of_a_store_is_never_used(folder, tmp_path):
    cache = tmp_path / "cache"
    build(folder, cache, disk=True)
    (place,) = cache.iterdir()
    part = place.rename(place.with_name(f"{place.name}.1.part"))
    (part / "pixels.bin").write_bytes(b"half")
    assert build(folder, cache, disk=True).samples[np.array([6])].max() == 6


@pytest.mark.parametrize("where", [{"memory": True}, {"disk": True}, {}])
def test_a_damaged_image_stops_or_is_left_out(folder, tmp_path, where):
    whole = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"3\.png.*--data.on_error skip"):
        build(folder, tmp_path / "cache", **where)
    store = build(folder, tmp_path / "cache", skip=True, **where)
    assert store.kept == [0, 1, 2, 4, 5, 6]
    assert store.samples[np.arange(6)][:, 0, 0, 0].tolist() == store.kept
    assert len(store.damaged) == 1
    assert "3.png" in store.damaged[0]


def test_nothing_but_damaged_images_is_an_error_even_when_they_may_be_skipped(folder, tmp_path):
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match="every sample is damaged"):
        build(folder, tmp_path / "cache", memory=True, skip=True)


def test_a_full_disk_is_told_before_anything_is_written(folder, tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(10, 10, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"--data\.cache_dir"):
        build(folder, tmp_path / "cache", disk=True)
    assert not list((tmp_path / "cache").iterdir())


def test_the_record_of_a_store_is_json(folder, tmp_path):
    build(folder, tmp_path / "cache", disk=True)
    (record,) = (tmp_path / "cache").glob("*/store.json")
    found = {"kept": list(range(7)), "damaged": [], "aspects": [1.0] * 7}
    assert json.loads(record.read_text()) == found


def test_links_to_nothing_and_names_that_are_no_text_are_damage(folder, tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    (folder / name).symlink_to(folder / "gone")
    Image.new("L", (4, 4)).save(folder / os.fsdecode(b"ol\xe9.png"))
    with pytest.raises(ConfigError, match=r"caf\\xe9.png: No such file or directory; remove it"):
        build(folder, tmp_path / "cache", disk=True)
    store = build(folder, tmp_path / "cache", disk=True, skip=True)
    assert (len(store.samples), len(store.damaged)) == (8, 1)


@pytest.mark.parametrize("where", [{"memory": True}, {"disk": True}, {}])
def test_another_limit_of_pixels_is_another_store(folder, tmp_path, where):
    Image.new("L", (9, 9)).save(folder / "9.png")
    for limit, count in [(80, 7), (81, 8)]:
        store = build_store(
            FolderSource(folder, max_pixels=limit),
            FORM,
            in_memory="memory" in where,
            on_disk="disk" in where,
            cache_dir=tmp_path / "cache",
            skip_damaged=True,
            builder=True,
        )
        assert len(store.samples) == count


HURT = {
    "empty": "",
    "half": '{"kept": [0, 1',
    "a list": "[]",
    "another key": '{"kept": [], "damaged": [], "aspects": [], "x": 1}',
    "types": '{"kept": "a", "damaged": 3, "aspects": null}',
    "out of range": '{"kept": [0, 1, 500], "damaged": [], "aspects": [1, 1, 1]}',
    "lengths": '{"kept": [0, 1], "damaged": [], "aspects": [1]}',
    "below zero": '{"kept": [-2, -1], "damaged": [], "aspects": [1, 1]}',
    "NaN": '{"kept": [0], "damaged": [], "aspects": [NaN]}',
    "deep": "[" * 100_000,
    "bytes": "\udcff",
}


@pytest.mark.parametrize("disk", [True, False])
@pytest.mark.parametrize("text", HURT.values(), ids=HURT)
def test_a_damaged_store_is_built_again_and_that_is_said(folder, tmp_path, capsys, text, disk):
    build(folder, tmp_path / "cache", disk=disk)
    (written,) = (tmp_path / "cache").glob("*/store.json")
    written.write_bytes(text.encode("utf-8", "surrogateescape"))
    store = build(folder, tmp_path / "cache", disk=disk)
    assert store.samples[np.arange(7)][:, 0, 0, 0].tolist() == [*range(7)]
    said = f"the decoded samples in {written.parent} are damaged: decoding again"
    assert capsys.readouterr().out.count(said) == 1


@pytest.mark.parametrize("hurt", ["short", "gone", "pipe", "no record", "pipe as record"])
def test_a_store_without_a_whole_file_is_built_again(folder, tmp_path, hurt):
    build(folder, tmp_path / "cache", disk=True)
    (pixels,) = (tmp_path / "cache").glob("*/pixels.bin")
    path = pixels.with_name("store.json") if "record" in hurt else pixels
    whole = path.read_bytes()
    path.unlink()
    if hurt == "short":
        path.write_bytes(whole[:-1])
    elif hurt.startswith("pipe"):
        os.mkfifo(path)
    store = build(folder, tmp_path / "cache", disk=True)
    assert store.samples[np.arange(7)][:, 0, 0, 0].tolist() == [*range(7)]


def test_what_a_kill_leaves_is_removed_by_the_next_run(folder, tmp_path):
    cache = tmp_path / "cache"
    left, mine = cache / "0a.0123abcd.part", cache / "film.part"
    for path in (left, mine):
        path.mkdir(parents=True)
        (path / "pixels.bin").write_bytes(b"half")
    with replacing(cache / "other", folder=True) as live:
        build(folder, cache, disk=True)
        assert live.is_dir()  # somebody is at work in it
    assert not left.exists()
    assert mine.exists()


def test_what_took_long_to_decode_to_memory_is_on_disk_for_the_next_run(
    folder, tmp_path, monkeypatch, capsys
):
    cache = tmp_path / "cache"
    build(folder, cache, memory=True)
    assert not has_store(FolderSource(folder), FORM, cache)
    monkeypatch.setattr("ssl_dml.data.store.WORTH_KEEPING", 0.0)
    first = build(folder, cache, memory=True)
    assert f"is kept in {cache} for the next run" in capsys.readouterr().out
    assert has_store(FolderSource(folder), FORM, cache)
    again = build(folder, cache, disk=True, builder=False)  # would wait if there were none
    assert np.array_equal(again.samples, first.samples)
    assert (again.content, again.kept, again.aspects) == (first.content, first.kept, first.aspects)
    assert np.array_equal(again.digests, first.digests)


def test_without_room_what_took_long_is_not_kept_and_that_is_said(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("ssl_dml.data.store.WORTH_KEEPING", 0.0)
    usage = shutil._ntuple_diskusage(10, 10, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert len(build(folder, tmp_path / "cache", memory=True).samples) == 7
    assert "is not kept in" in capsys.readouterr().out
    assert not list((tmp_path / "cache").iterdir())
