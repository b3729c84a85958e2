import json

import numpy as np
import pytest
from indexes import stored

from ssl_dml.index.index import build_index
from ssl_dml.index.manifest import read_manifest, writing
from ssl_dml.types import ConfigError


@pytest.fixture
def folder(tmp_path):
    index = build_index(stored(tmp_path / "table", rows=40), tmp_path / "index", memory=10**9)
    index.remove(["bee/4.png"])
    return index.folder


def test_what_was_written_is_read(folder):
    manifest = read_manifest(folder)
    assert manifest.ids == 40
    assert manifest.removed_ids(folder).tolist() == [4]
    assert manifest.next_number == 2
    assert [one.rows for one in manifest.segments] == [40]


def changed(values, path, value):
    *above, last = path
    inner = values
    for key in above:
        inner = inner[key]
    inner[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["segments", 0, "rows"], -1), (["segments", 0, "rows"], "40"),
        (["segments", 0, "rows"], 2**60), (["segments", 0, "first"], 3),
        (["segments", 0, "kind"], "guess"), (["segments", 0, "row_type"], "object"),
        (["segments", 0, "effort"], 0), (["segments", 0, "source"], None),
        (["segments"], "x"), (["segments", 0, "number"], True), (["table", "dim"], 0),
        (["table"], []), (["removed"], -2), (["memory"], 1.5), (["format"], 7),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(folder, path, value):
    file = folder / "index.json"
    file.write_text(json.dumps(changed(json.loads(file.read_text()), path, value)))
    with pytest.raises(ConfigError, match=r"index.json .*build the index again") as told:
        read_manifest(folder)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10**5, '{"format": 1}'])
def test_what_is_no_manifest_is_one_line(folder, text):
    (folder / "index.json").write_text(text)
    with pytest.raises(ConfigError, match=r"index.json .*build the index again"):
        read_manifest(folder)


def test_removed_ids_that_are_not_there_are_refused(folder):
    np.array([4, 40]).tofile(folder / "00001.removed")
    with pytest.raises(ConfigError, match=r"00001.removed is damaged; build the index again"):
        read_manifest(folder).removed_ids(folder)


def test_leftovers_go_and_what_is_not_of_the_index_stays(folder):
    for name in ("00007.rows", "00007.thumbs_ends", "index.json.0123abcd.part", "notes.txt"):
        (folder / name).touch()
    with writing(folder):
        names = {path.name for path in folder.iterdir()}
    assert not names & {"00007.rows", "00007.thumbs_ends", "index.json.0123abcd.part"}
    assert {"notes.txt", "00000.rows", "00001.removed"} <= names
