import json
import os

import pytest

from ssl_dml.commands.runs import main
from ssl_dml.types import ConfigError

CONFIG = """
method: {class_path: ssl_dml.methods.MoCo}
data: {source: /a/long/path/to/many/images}
train: {steps: 40}
"""
ROWS = [
    {"step": 0, "epoch": 0.0, "eval/knn_top1": 0.5},
    {"step": 40, "epoch": 2.0, "eval/knn_top1": 0.75, "train/loss": 1.25},
]


def made(folder, began, rows=ROWS, config=CONFIG):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(folder / "config.yaml", (began, began))


def test_runs_are_listed_by_date_in_100_columns(tmp_path, capsys):
    made(tmp_path / "group/second", 2e9)
    made(tmp_path / "first", 1e9, rows=[])
    made(tmp_path / ("x" * 80), 1.5e9)
    made(tmp_path / "first/checkpoints/step_9", 1e9)  # a copy of its configuration, and no run
    main([str(tmp_path), "--json", str(tmp_path / "runs.json")])
    header, first, long, second, count = capsys.readouterr().out.splitlines()
    assert header.split() == [
        *("date", "run", "objective", "data", "steps", "state", "loss", "probe", "first", "gain"),
    ]
    assert first.split()[2:4] == ["first", "MoCo"]
    assert second.split()[2:] == [
        *("group/second", "MoCo", "…many/images", "40/40", "stopped"),
        *("1.250", "75.0", "50.0", "+25.0"),
    ]
    assert "…xxxxx" in long
    assert count == f"3 runs below {tmp_path}; scores in percent"
    assert max(map(len, (header, first, long, second))) <= 100
    listed = json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert [run["step"] for run in listed] == [0, 40, 40]
    assert listed[-1]["gain"] == 0.25
    assert listed[0]["score"] is None


def test_a_run_itself_may_be_named_and_what_is_none_is_left_out(tmp_path, capsys):
    made(tmp_path / "run\x1b[31m", 1e9)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.yaml").write_text("x: [")
    main([str(tmp_path / "run\x1b[31m")])
    assert "1 runs below" in capsys.readouterr().out
    main([str(tmp_path)])
    printed = capsys.readouterr().out
    assert "left out: " in printed
    assert "other/config.yaml is no YAML" in printed
    assert "\x1b" not in printed.splitlines()[1]


def test_a_link_is_not_followed(tmp_path, capsys):
    made(tmp_path / "elsewhere/run", 1e9)
    (tmp_path / "here").mkdir()
    (tmp_path / "here/link").symlink_to(tmp_path / "elsewhere")
    main([str(tmp_path / "here")])
    assert capsys.readouterr().out == f"0 runs below {tmp_path / 'here'}\n"


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"--folder .*nowhere.*: there is no such folder"):
        main([str(tmp_path / "nowhere")])
    with pytest.raises(ConfigError, match=r"--json .*: there is no folder"):
        main([str(tmp_path), "--json", str(tmp_path / "no/a.json")])
