from pathlib import Path

import pytest
from benchmarks.finetune import HEADS, Trial, _lines, finetune_table

ROOT = Path(__file__).parents[2]


def test_every_head_of_the_table_has_a_recipe():
    for name in HEADS:
        assert (ROOT / "configs/finetune" / f"{name}.yaml").exists()
    assert (ROOT / "configs/pretrain/hangul.yaml").exists()


def test_the_table_names_head_start_and_labels():
    config = Path("arcface.yaml")
    scores = {
        Trial(config=config, start=start, per_class=count, seed=seed): value + seed / 100
        for start, value in (("random", 0.5), ("pretrained", 0.7))
        for count in (2, None)
        for seed in range(2)
    }
    alone = [{"untrained": 0.1, "pretrained": 0.6}, {"untrained": 0.1, "pretrained": 0.62}]
    lines = _lines([config], [2, None], 2, alone, scores)
    assert lines[2] == "| head | start | 2 a class | all labels |"
    assert "random encoder: 10.00 ± 0.00" in lines[4]
    assert "pretrained only: 61.00 ± 12.71" in lines[5]
    assert lines[6] == "| `arcface` | random | 50.50 ± 6.35 | 50.50 ± 6.35 |"
    assert lines[7].startswith("| `arcface` | pretrained | 70.50")
    assert {trial.name for trial in scores} >= {"arcface_random_2_0", "arcface_pretrained_all_1"}


def test_one_seed_has_no_interval(tmp_path):
    with pytest.raises(ValueError, match="seeds must be from 2 to 10 for an interval, got 1"):
        finetune_table(seeds=1, folder=tmp_path)
