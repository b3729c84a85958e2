"""What a checkpoint says of itself, damaged and forged in every way."""

import json
import os

import pytest

from ssl_dml.training.manifest import METADATA, read_metadata, write_metadata

FILES = {"state.pt": "a", "config.yaml": "b", "generators_0.pt": "c"}
SOUND = {"format": "ssl_dml checkpoint 2", "step": 4, "processes": 1, "files": FILES, "seed": 0}


@pytest.fixture
def place(tmp_path):
    (tmp_path / "step_4").mkdir()
    return tmp_path / "step_4"


def test_what_was_written_is_read(place):
    rows = {f"{name}_{rank}.pt": "d" for name in ("rows", "generators") for rank in range(2)}
    for values in (SOUND, {**SOUND, "processes": 2, "files": {**FILES, **rows}}):
        write_metadata(place, values)
        assert read_metadata(place) == values


@pytest.mark.parametrize(
    "change",
    [
        *({"step": step} for step in (2, -1, 10**9, "4", 4.0, True, None, [4])),
        *({"processes": number} for number in (-1, 0, 2, 10**9, "1", 1.0, True, None)),
        *({"files": files} for files in ({}, [], None, "state.pt", {"state.pt": "a"})),
        {"files": {**FILES, "../../secret": "d"}},
        {"files": {**FILES, "rows_1.pt": "d"}},
        {"files": {name: found for name, found in FILES.items() if name != "config.yaml"}},
    ],
)
def test_what_cannot_be_is_refused_with_or_without_a_digest(place, change):
    words = r"checkpoint\.json differs from what was written: .*; remove .*step_4 to go on from"
    for forge in (write_metadata, lambda place, values: edit(place, json.dumps(values))):
        write_metadata(place, SOUND)
        forge(place, {**SOUND, **change})
        with pytest.raises(ValueError, match=words):
            read_metadata(place)


def edit(place, text):
    (place / METADATA).write_text(text)


def test_a_value_that_could_be_is_refused_if_it_was_edited(place):
    write_metadata(place, SOUND)
    text = (place / METADATA).read_text()
    edit(place, text.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(ValueError, match=r"checkpoint\.json differs from what was written"):
        read_metadata(place)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '"x"', "[" * 10**5, '{"a":' * 10**5, '{"step": ' + "9" * 5000 + "}"]
)
def test_what_is_no_record_is_refused_with_the_remedy(place, text):
    edit(place, text)
    with pytest.raises(ValueError, match=r"is missing or damaged: .* remove it to go on from"):
        read_metadata(place)


def test_another_format_names_the_version_or_a_new_start(place):
    edit(place, json.dumps({**SOUND, "format": "ssl_dml checkpoint 1"}))
    with pytest.raises(ValueError, match=r"has the format 'ssl_dml checkpoint 1'.*--init .*state"):
        read_metadata(place)


def test_what_is_no_file_is_not_opened(place):
    os.mkfifo(place / METADATA)
    with pytest.raises(ValueError, match="is missing or damaged"):
        read_metadata(place)
    (place / METADATA).unlink()
    with (place / METADATA).open("wb") as file:
        file.truncate(1 << 40)  # sparse; to read it would fill the memory
    with pytest.raises(ValueError, match="is missing or damaged"):
        read_metadata(place)
