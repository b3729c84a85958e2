import json
import os

import pytest

from ssl_dml.reporting import explain_non_finite, finetune_summary, read_records, summary
from ssl_dml.reporting.summary import collapse_warning
from ssl_dml.stops import NonFiniteError
from ssl_dml.types import ConfigError


def rows(folder, *values):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(v) + "\n" for v in values))


def test_the_summary_compares_with_both_baselines(tmp_path):
    first = {"step": 0, "epoch": 0, "eval/rankme": 3, "eval/knn_top1": 0.5}
    last = {"step": 9, "epoch": 7.0, "eval/rankme": 9, "eval/knn_top1": 0.9}
    rows(tmp_path, {**first, "eval/raw_pixels_knn_top1": 0.7}, {"step": 5, "epoch": 4}, last)
    text = summary(tmp_path)
    for words in ("random weights", "50.0%", "raw pixels", "70.0%", "7 epochs", "90.0%"):
        assert words in text
    assert f"\nlinear probe:    ssl_dml evaluate --config linear --run {tmp_path}\n" in text
    assert f"--config finetune/arcface --init {tmp_path}/backbone\n" in text


def test_the_summary_shows_what_was_gained_over_the_start(tmp_path):
    probe = {"step": 0, "epoch": 0, "eval/rankme": 3, "eval/knn_top1": 0.5}
    rows(tmp_path, probe, {**probe, "step": 9, "eval/knn_top1": 0.6})
    lines = summary(tmp_path, "timm:resnet18", "+10.0%").splitlines()
    assert lines[2] == "start                        50.0%"
    assert lines[4] == "gain over the start       +10.0%"
    assert "gain" not in summary(tmp_path)


def test_the_summary_without_labels_says_so(tmp_path):
    rows(tmp_path, {"step": 7, "epoch": 0, "eval/rankme": 3})
    text = summary(tmp_path)
    assert "no labels" in text
    assert f"ssl_dml pretrain --output_dir {tmp_path} --resume true --train.steps 14\n" in text
    assert "ssl_dml evaluate" not in text


def test_fine_tuning_is_summarized_by_its_first_best_and_last_model(tmp_path):
    recalls = [0.5, 0.8, 0.8, 0.7]
    probes = [
        {"epoch": i, "eval/rankme": 3, "eval/recall_at_1": recall, "eval/map_at_r": recall / 2}
        for i, recall in enumerate(recalls)
    ]
    rows(tmp_path, *probes, {"epoch": 3, "train/loss": 1.0})
    assert finetune_summary(tmp_path).splitlines()[1:5] == [
        "held-out samples          recall@1     MAP@R",
        "before the first step        50.0%     25.0%",
        "best, 1 epochs               80.0%     40.0%",
        "last, 3 epochs               70.0%     35.0%",
    ]
    assert f"ssl_dml evaluate --config retrieval --run {tmp_path}\n" in finetune_summary(tmp_path)


def test_fine_tuning_on_continuous_labels_prefers_small_distances(tmp_path):
    distances = [30.0, 12.5, 14.0]
    rows(
        tmp_path,
        *(
            {"epoch": i, "eval/rankme": 3, "eval/label_distance_at_1": distance}
            for i, distance in enumerate(distances)
        ),
    )
    text = finetune_summary(tmp_path)
    assert f"{'best, 1 epochs':24}{12.5:16}\n" in text
    assert f"--run {tmp_path} --evaluator label_distances\n" in text


def test_fine_tuning_without_held_out_samples_says_so(tmp_path):
    assert "no samples were held out" in finetune_summary(tmp_path)


@pytest.mark.parametrize(("spread", "rank"), [(0.01, 30.0), (0.9, 1.2)])
def test_a_collapse_is_reported(spread, rank):
    assert "collapsed" in collapse_warning({"spread": spread, "rankme": rank})


def test_healthy_features_give_no_warning():
    assert collapse_warning({"spread": 0.6, "rankme": 30.0}) is None


def test_a_non_finite_loss_names_the_last_checkpoint_and_lists_samples(tmp_path):
    for step in (9, 10):
        (tmp_path / "checkpoints" / f"step_{step}").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step_11.part").mkdir()
    error = explain_non_finite(NonFiniteError("step 12: loss nan", [4, 2]), tmp_path)
    assert f"the last good checkpoint is {tmp_path}/checkpoints/step_10" in str(error)
    assert json.loads((tmp_path / "non_finite.json").read_text())["samples"] == [4, 2]
    assert "checkpoint is none" in str(explain_non_finite(NonFiniteError("x"), tmp_path / "y"))


def test_rows_from_a_pipe_are_refused(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(ConfigError, match="is a pipe, and no file"):
        read_records(tmp_path)


def test_without_any_row_there_is_no_accuracy(tmp_path):
    assert "metrics.jsonl has no probes" in summary(tmp_path)
