import pytest

from ssl_dml.reporting import read_records
from ssl_dml.reporting.trackers import ProgressTracker, RecordTracker


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
