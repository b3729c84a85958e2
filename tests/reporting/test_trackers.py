from pathlib import Path

import pytest
from accelerate import Accelerator, PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from ssl_dml.reporting import finish, read_records, start_trackers
from ssl_dml.reporting.trackers import ProgressTracker, RecordTracker
from ssl_dml.training import TrainConfig
from ssl_dml.types import ConfigError


def test_a_row_holds_step_epoch_and_time(tmp_path):
    RecordTracker(tmp_path, step=0, steps_per_epoch=4.0).log({"train/loss": 0.5}, step=6)
    (row,) = read_records(tmp_path)
    assert (row["step"], row["epoch"], row["train/loss"]) == (6, 1.5, 0.5)
    assert row["wall_s"] >= 0


def test_resuming_deletes_rows_that_will_be_written_again(tmp_path):
    record = RecordTracker(tmp_path, step=0, steps_per_epoch=1.0)
    for step in range(5):
        record.log({"x": step}, step=step)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "x"')  # a kill in the middle of a line
    later = RecordTracker(tmp_path, step=2, steps_per_epoch=1.0)
    later.log({"x": 33}, step=3)
    found = read_records(tmp_path)
    assert [row["x"] for row in found] == [0, 1, 2, 33]
    assert found[-1]["wall_s"] >= found[-2]["wall_s"]


def test_the_bar_shows_loss_speed_and_the_last_probe(capsys):
    bar = ProgressTracker(steps=10, step=4, before=[{"eval/knn_top1": 0.5}])
    bar.log({"train/loss": 1.25, "train/samples_per_s": 99.6}, step=6)
    bar.log({"eval/knn_top1": 0.75}, step=6)
    bar.tracker.refresh()
    bar.finish()
    drawn = capsys.readouterr().err
    for words in ("6/10", "loss=1.250", "samples/s=100", "kNN=75.0%"):
        assert words in drawn


def test_a_saturated_bound_is_said_once(capsys):
    bar, speed = ProgressTracker(steps=10, step=0), {"train/loss": 0.1, "train/samples_per_s": 9.0}
    limit = {"train/mutual_information_limit": 6.0}
    for step, bound in enumerate((5.3, 5.5, 5.6), start=1):
        bar.log({**speed, **limit, "train/mutual_information": bound}, step=step)
    bar.finish()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("step 2: the bound on mutual information is saturated: 5.50 nats of at")


GARBAGE = [b"\x00\xff\x80", b"[1]", b'"x"', b"null", b"{", b"[" * 10**5, b'{"step": "2", "x": 2}']
GARBAGE += [b'{"step": 2, "x": "two"}', b'{"step": true}', b'{"step": 2, "x": [2]}']


@pytest.mark.parametrize("line", [*GARBAGE, b'{"step": 0, "x": 9, "wall_s": 1}'])
def test_a_damaged_line_or_one_of_another_run_is_left_out_and_said(tmp_path, capsys, line):
    record = RecordTracker(tmp_path, step=0, steps_per_epoch=1.0)
    for step in (1, 2):
        record.log({"x": step}, step=step)
    path = tmp_path / "metrics.jsonl"
    first, second = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, line, second, b'{"step": 3, "wa']))
    ProgressTracker(steps=10, step=2, before=read_records(tmp_path)).finish()
    RecordTracker(tmp_path, step=2, steps_per_epoch=1.0).log({"x": 3}, step=3)
    assert [row["x"] for row in read_records(tmp_path)] == [1, 2, 3]
    assert capsys.readouterr().out.count("1 lines are damaged or of another run, and left") == 1


def test_a_link_in_the_place_of_the_rows_is_not_followed(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to(tmp_path / "elsewhere")
    RecordTracker(tmp_path, step=0, steps_per_epoch=1.0).log({"x": 3}, step=3)
    assert not (tmp_path / "elsewhere").exists()


class Notebook(GeneralTracker):
    """A tracker as a package registers it with accelerate, which writes into a file."""

    name = "notebook"
    requires_logging_directory = True

    def __init__(self, run_name, logging_dir):
        super().__init__()
        self.path = Path(logging_dir) / f"{run_name}.txt"

    @property
    def tracker(self):
        return self.path

    def start(self):
        if self.path.exists():
            raise RuntimeError("no account:\nlog in first")
        self.path.touch()

    def store_init_configuration(self, values):
        self.path.write_text(f"{values}\n")

    def log(self, values, step=None, **_):
        with self.path.open("a") as file:
            file.write(f"{step} {values}\n")


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "notebook", Notebook)


def started(folder, names, config=None):
    accelerator = Accelerator(cpu=True)
    start_trackers(
        accelerator, folder, step=0, steps=2, steps_per_epoch=1.0, names=names, config=config
    )
    return accelerator


@pytest.mark.usefixtures("notebook")
def test_a_tracker_by_name_gets_metrics_and_the_configuration(tmp_path):
    accelerator = started(tmp_path, ["notebook", "notebook"], {"train": {"steps": 2}})
    accelerator.log({"train/loss": 0.5, "train/samples_per_s": 1.0}, step=1)
    finish(accelerator)
    assert (tmp_path / "ssl_dml.txt").read_text().splitlines() == [
        "{'train.steps': 2}",
        "1 {'train/loss': 0.5, 'train/samples_per_s': 1.0}",
    ]
    assert read_records(tmp_path)[0]["train/loss"] == 0.5
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.usefixtures("notebook")
def test_a_tracker_that_cannot_start_is_one_line(tmp_path):
    (tmp_path / "ssl_dml.txt").touch()
    words = "train.trackers: notebook cannot start: no account: log in first; set it up"
    with pytest.raises(ConfigError, match=words):
        started(tmp_path, ["notebook"])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["mlflo"], "there is no tracker 'mlflo'; did you mean mlflow?"),
        (["tensorboard", "zzz"], "there is no tracker 'zzz'; choose from aim, clearml"),
        (["clearml"], "clearml is not installed: pip install clearml, or leave it out"),
    ],
)
def test_a_tracker_that_is_not_there_is_named(names, words):
    with pytest.raises(ConfigError) as raised:
        TrainConfig(steps=1, trackers=tuple(names))
    assert str(raised.value).startswith(f"train.trackers: {words}")


def test_trackers_are_checked_before_accelerate_has_begun(monkeypatch):
    monkeypatch.setattr(PartialState, "_shared_state", {})
    with pytest.raises(ConfigError, match="clearml is not installed"):
        TrainConfig(steps=1, trackers=("clearml",))
