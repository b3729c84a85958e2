import json

import pytest
import yaml

from ssl_dml.training.run_folder import refuse_existing, write_config, write_json
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


def test_changed_settings_are_said(tmp_path, capsys):
    write_config(tmp_path / "run", {"train": {"steps": 3}, "resume": False})
    assert capsys.readouterr().err == ""
    write_config(tmp_path / "run", {"train": {"steps": 5}, "resume": True})
    assert "train.steps 3 -> 5" in capsys.readouterr().err
    written = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert written == {"train": {"steps": 5}, "resume": False}


def test_metadata_is_written_whole(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
