"""The command ``ssl_dml``: what it prints, what it refuses, and several processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.api import SignalException

from ssl_dml.__main__ import COMMANDS, launch, run
from ssl_dml.types import ConfigError


def command(*arguments, cwd):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, "-m", "ssl_dml", *map(str, arguments)],
        cwd=cwd,
        env={**environment, "HOME": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_without_a_command_it_prints_the_journey(args, capsys):
    run(args)
    printed = capsys.readouterr().out
    places = [printed.index(f"ssl_dml {name}") for name in ("pretrain", "evaluate", "finetune")]
    assert places == sorted(places)
    assert all(name in printed for name in COMMANDS)


def test_a_command_that_is_not_there_is_named():
    words = "no command 'pretrian'; choose one of start, describe, pretrain,"
    with pytest.raises(ConfigError, match=words):
        run(["pretrian"])


@pytest.mark.parametrize("value", [["0"], ["two"], ["-1"], []])
def test_a_number_of_processes_that_cannot_be(value):
    with pytest.raises(ConfigError, match="--processes must be a number from 1"):
        run(["pretrain", "--processes", *value])


def test_a_launcher_has_started_the_processes_already(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="--processes is for a single command"):
        run(["pretrain", "--processes=2"])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_keys_and_shipped_configurations(name, capsys):
    with pytest.raises(SystemExit) as left:
        run([name, "--help"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert "--config" in printed
    assert {
        "evaluate": "linear",
        "finetune": "arcface",
        "compare": "--before",
        "describe": "--sheet",
        "audit": "--drop",
        "embed": "--views",
        "start": "--minutes",
        "search": "search query",
        "drift": "--sketch_from",
        "probe": "--held_out",
        "threshold": "--fpir",
        "report": "--table",
        "runs": "--json",
        "export": "torch_export",
        "push": "USER/NAME",
    }.get(name, "moco_v2") in printed


def test_a_mistake_on_two_processes_is_one_line_without_a_traceback(tmp_path):
    done = command("pretrain", "--processes", "2", "--train.stps", "3", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors
    assert set(errors) == {
        "error: --train.stps is not a key; did you mean train.steps or train.epochs?"
    }


@pytest.mark.slow
def test_two_processes_make_the_run_of_one(tmp_path):
    small = (
        "pretrain", "--data.batch_size", "16", "--train.steps", "3", "--train.log_every", "1",
        "--evaluation.max_gallery", "64", "--train.precision", "no",
    )  # fmt: skip
    losses = {}
    for processes in (1, 2):
        where = tmp_path / str(processes)
        done = command(*small, "--processes", processes, "--output_dir", where, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (where / "backbone/model.safetensors").exists()
        assert "Traceback" not in done.stderr
        rows = (where / "metrics.jsonl").read_text().splitlines()
        losses[processes] = [row for row in rows if "train/loss" in row]
    assert len(losses[1]) == len(losses[2]) == 3


@pytest.mark.parametrize(("own", "expected"), [(None, "1"), ("", None), (str(Path.cwd()), None)])
def test_processes_import_from_the_current_folder_if_this_one_does(monkeypatch, own, expected):
    monkeypatch.setattr("accelerate.commands.launch.launch_command", lambda _: None)
    monkeypatch.setenv("PYTHONSAFEPATH", "")  # put back afterwards
    monkeypatch.delenv("PYTHONSAFEPATH")
    others = [path for path in sys.path if path not in ("", str(Path.cwd()))]
    monkeypatch.setattr(sys, "path", [*others, own] if own is not None else others)
    launch(["pretrain"], 2)
    assert os.environ.get("PYTHONSAFEPATH") == expected


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_to_the_launcher_is_its_exit_code(number, monkeypatch):
    def signaled(_):
        raise SignalException("got a signal", signal.Signals(number))

    monkeypatch.setattr("accelerate.commands.launch.launch_command", signaled)
    with pytest.raises(SystemExit) as left:
        run(["pretrain", "--processes", "2"])
    assert left.value.code == 128 + number
