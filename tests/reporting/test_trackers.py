import json

import pytest

from ssl_dml.reporting import explain_non_finite, read_records, summary
from ssl_dml.reporting.trackers import ProgressTracker, RecordTracker, collapse_warning
from ssl_dml.types import NonFiniteError


def test_a_row_holds_step_epoch_and_time(tmp_path):
    RecordTracker(tmp_path, step=0, steps_per_epoch=4.0).log({"train/loss": 0.5}, step=6)
    (row,) = read_records(tmp_path)
    assert (row["step"], row["epoch"], row["train/loss"]) == (6, 1.5, 0.5)
    assert row["wall_s"] >= 0


def test_going_on_takes_away_what_will_be_written_again(tmp_path):
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


def rows(folder, *values):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(v) + "\n" for v in values))


def test_the_summary_compares_with_both_references(tmp_path):
    first = {"step": 0, "epoch": 0, "eval/rankme": 3, "eval/knn_top1": 0.5}
    last = {"step": 9, "epoch": 7.0, "eval/rankme": 9, "eval/knn_top1": 0.9}
    rows(tmp_path, {**first, "eval/raw_pixels_knn_top1": 0.7}, {"step": 5, "epoch": 4}, last)
    text = summary(tmp_path)
    for words in ("random weights", "50.0%", "raw pixels", "70.0%", "7 epochs", "90.0%"):
        assert words in text
    assert text.count(str(tmp_path)) == 3


def test_the_summary_without_labels_says_so(tmp_path):
    rows(tmp_path, {"step": 7, "epoch": 0, "eval/rankme": 3})
    assert "no labels" in summary(tmp_path)
    assert "--resume true --train.steps 14" in summary(tmp_path)
    assert "evaluate.py" not in summary(tmp_path)


@pytest.mark.parametrize(("spread", "rank"), [(0.01, 30.0), (0.9, 1.2)])
def test_a_collapse_is_said(spread, rank):
    assert "collapsed" in collapse_warning({"spread": spread, "rankme": rank})


def test_health_is_not_a_warning():
    assert collapse_warning({"spread": 0.6, "rankme": 30.0}) is None


def test_a_stop_names_the_last_checkpoint_and_lists_samples(tmp_path):
    for step in (9, 10):
        (tmp_path / "checkpoints" / f"step_{step}").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step_11.part").mkdir()
    error = explain_non_finite(NonFiniteError("step 12: loss nan", [4, 2]), tmp_path)
    assert f"the last good checkpoint is {tmp_path}/checkpoints/step_10" in str(error)
    assert json.loads((tmp_path / "non_finite.json").read_text())["samples"] == [4, 2]
    assert "checkpoint is none" in str(explain_non_finite(NonFiniteError("x"), tmp_path / "y"))
