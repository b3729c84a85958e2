import json

import pytest
import yaml

from ssl_dml.files import write_json
from ssl_dml.training.run_folder import claim, refuse_existing, write_config
from ssl_dml.training.run_lock import LOCK
from ssl_dml.types import ConfigError


def test_a_new_or_empty_folder_is_taken(tmp_path):
    refuse_existing(tmp_path / "new", resume=False)
    refuse_existing(tmp_path, resume=False)


def test_a_folder_with_something_in_it_is_not(tmp_path):
    (tmp_path / "thing").touch()
    with pytest.raises(ConfigError, match="exists already; name another with --output_dir"):
        refuse_existing(tmp_path, resume=False)
    refuse_existing(tmp_path, resume=True)
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        refuse_existing(tmp_path / "thing", resume=True)


def test_the_file_of_a_lock_is_nothing_that_a_folder_holds(tmp_path):
    (tmp_path / LOCK).touch()
    refuse_existing(tmp_path, resume=False)


def test_a_run_has_its_folder_alone_and_leaves_it_as_it_should_be(tmp_path):
    folder = tmp_path / "run"
    with claim(folder, resume=False):
        for resume in (False, True):
            with (
                pytest.raises(ConfigError, match="is in use by process"),
                claim(folder, resume=resume),
            ):
                raise AssertionError
        (folder / "config.yaml").touch()
    with (
        pytest.raises(ConfigError, match="exists already; name another"),
        claim(folder, resume=False),
    ):
        raise AssertionError
    with claim(folder, resume=True):
        pass
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]
    with (
        pytest.raises(ConfigError, match="is a file; name a folder"),
        claim(folder / "config.yaml", resume=True),
    ):
        raise AssertionError


def test_changed_settings_are_said(tmp_path, capsys):
    write_config(tmp_path / "run", {"train": {"steps": 3}, "resume": False})
    assert capsys.readouterr().err == ""
    write_config(tmp_path / "run", {"train": {"steps": 5}, "resume": True})
    assert "train.steps 3 -> 5" in capsys.readouterr().err
    written = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert written == {"train": {"steps": 5}, "resume": False}
    (tmp_path / "run/config.yaml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"run/config\.yaml is no YAML in UTF-8"):
        write_config(tmp_path / "run", {})


def test_metadata_is_written_whole(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_what_a_kill_left_half_written_is_no_run_and_is_removed(tmp_path):
    (tmp_path / "config.yaml.0123abcd.part").touch()
    (tmp_path / "backbone.0123abcd.part").mkdir()
    with claim(tmp_path, resume=False):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("text")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=r"run\.lock"), claim(tmp_path / "run", resume=True):
        raise AssertionError
    assert (tmp_path / "mine").read_text() == "text"
