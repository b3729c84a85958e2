import json

import pytest

from ssl_dml.config import ConfigError
from ssl_dml.training.run_folder import config_for, open_run, refuse_existing, write_json


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
    open_run(tmp_path / "run", "train: {steps: 3}\nresume: false\n")
    assert capsys.readouterr().err == ""
    open_run(tmp_path / "run", "train: {steps: 5}\nresume: true\n")
    assert "train.steps 3 -> 5" in capsys.readouterr().err
    assert "steps: 5" in (tmp_path / "run/config.yaml").read_text()


def test_a_resumed_run_goes_on_with_its_own_configuration(tmp_path):
    default = tmp_path / "default.yaml"
    default.write_text(f"output_dir: {tmp_path / 'usual'}\n")
    own = tmp_path / "run" / "config.yaml"
    own.parent.mkdir()
    own.touch()
    run = ["--output_dir", str(own.parent)]
    assert config_for(run, default) == default
    assert config_for([*run, "--resume", "true"], default) == own
    assert config_for([f"--output_dir={own.parent}", "--resume=true"], default) == own
    assert config_for(["--resume", "true"], default) == default
    usual = tmp_path / "usual" / "config.yaml"
    usual.parent.mkdir()
    usual.touch()
    assert config_for(["--resume", "true"], default) == usual


def test_facts_are_written_whole(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
