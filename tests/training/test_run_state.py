import json

import pytest

from ssl_dml.training.run_lock import RunLock, in_use
from ssl_dml.training.run_state import read_state
from ssl_dml.types import ConfigError

PRETRAIN = """
method: {class_path: ssl_dml.methods.SimCLR, init_args: {temperature: 0.1}}
data: {source: images}
train: {epochs: 3}
"""
MARGIN = """
head: {class_path: ssl_dml.heads.MarginSoftmax, init_args: {margin: {class_path: a.b.ArcFace}}}
train: {steps: 7}
"""
ROWS = [
    {"step": 0, "epoch": 0.0, "eval/knn_top1": 0.5},
    {"step": 10, "epoch": 0.5, "train/loss": 2.0},
    {"step": 20, "epoch": 1.0, "eval/knn_top1": 0.75, "train/loss": None},
]


def made(folder, config=PRETRAIN, rows=ROWS, saved=None):
    (folder / "config.yaml").write_text(config)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if saved is not None:
        (folder / "backbone").mkdir()
        text = json.dumps({"trained": {"steps": saved}})
        (folder / "backbone/backbone.json").write_text(text)
    return read_state(folder)


def test_a_stopped_run(tmp_path):
    state = made(tmp_path)
    assert (state.objective, state.source) == ("SimCLR", "images")
    assert (state.step, state.planned, state.state, state.loss) == (20, 60, "stopped", 2.0)
    assert state.score == ("kNN top-1", 0.5, 0.75)
    assert state.notes == ["data.json is missing"]


def test_a_finished_run_and_one_that_was_stopped_when_it_went_on(tmp_path):
    for name, saved in (("done", 20), ("further", 10)):
        (tmp_path / name).mkdir()
        state = made(tmp_path / name, saved=saved)
        assert state.state == {"done": "finished", "further": "stopped"}[name]
        assert state.step == 20


def test_the_objective_of_a_head_is_its_margin_or_loss(tmp_path):
    state = made(tmp_path, MARGIN, [])
    assert (state.objective, state.planned, state.source) == ("ArcFace", 7, "?")
    assert (state.score, state.loss, state.step) == (None, None, 0)


def test_a_locked_run_is_running_and_a_killed_one_is_not(tmp_path):
    made(tmp_path)
    lock = RunLock(tmp_path)
    assert in_use(tmp_path)
    assert read_state(tmp_path).state == "running"
    lock.release()
    (tmp_path / "run.lock").write_text("what a kill has left")
    assert not in_use(tmp_path)
    assert (tmp_path / "run.lock").read_text() == "what a kill has left"


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "run.lock").symlink_to(tmp_path / "elsewhere")
    assert not in_use(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("text", ["data: [", "other: 1", "3", "method: 3\nmethod: 4"])
def test_what_is_no_run_is_named(tmp_path, text):
    with pytest.raises(ConfigError, match="no run folder"):
        read_state(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        read_state(tmp_path)


@pytest.mark.parametrize(
    "config", ["method: 3\ntrain: {epochs: .inf}", "head: {init_args: 3}\ntrain: 4\ndata: x"]
)
def test_strange_values_are_no_mistake(tmp_path, config):
    state = made(tmp_path, config)
    for name in ("backbone", "data"):
        (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "data.json").write_text("[1]")
    (tmp_path / "backbone/backbone.json").write_text('{"trained": 3}')
    again = read_state(tmp_path)
    assert (again.objective, again.planned, again.saved_step) == ("?", None, None)
    assert state.state == "stopped"
