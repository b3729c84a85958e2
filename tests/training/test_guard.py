"""What is said, kept and stopped when a run is compared with its start."""

import pytest
import torch

from ssl_dml.evaluation import ProbeConfig
from ssl_dml.evaluation.probe import Seen
from ssl_dml.tables import EmbeddingTable
from ssl_dml.training.guard import Guard, GuardSettings
from ssl_dml.types import ConfigError


def guard(folder, *, labeled=True, **settings):
    return Guard(GuardSettings(**settings), ProbeConfig(k=3), folder, labeled=labeled)


def judged(made, *values):
    """What comes of probes at steps 0, 10, ..."""
    return [made.judge(10 * i, {"held_out_knn_top1": v}) for i, v in enumerate(values)]


def test_the_start_is_kept_until_something_is_better(tmp_path, capsys):
    made = guard(tmp_path)
    assert [better for better, _ in judged(made, 0.5, 0.4, 0.5, 0.6, 0.55)] == [
        *(True, False, False, True, False)
    ]
    assert (made.best.step, made.best.value) == (30, 0.6)
    assert capsys.readouterr().out == ""


def test_patience_counts_probes_in_a_row(tmp_path, capsys):
    made = guard(tmp_path, patience=2)
    found = judged(made, 0.5, 0.4, 0.5, 0.4, 0.45, 0.3)
    assert not any(stop for _, stop in found)
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        "guard: held-out kNN 45.0% at step 40 has been below the start's 50.0% for 2 probes; the "
        "run goes on, and best/ keeps step 0: lower the learning rate, or train less with "
        "adapt.train"
    )


def test_it_stops_if_asked(tmp_path, capsys):
    made = guard(tmp_path, patience=2, stop=True)
    assert [stop for _, stop in judged(made, 0.5, 0.4, 0.45)] == [False, False, True]
    assert "the run stops" in capsys.readouterr().out


def test_its_state_goes_on(tmp_path):
    whole, first, second = (guard(tmp_path, patience=3, stop=True) for _ in range(3))
    judged(whole, 0.5, 0.4, 0.45)
    judged(first, 0.5, 0.4, 0.45)
    second.load_state_dict(first.state_dict())
    measured = {"held_out_knn_top1": 0.1}
    assert second.judge(30, measured) == whole.judge(30, measured) == (False, True)


def test_without_labels_it_says_what_moved(tmp_path, capsys):
    made, features = guard(tmp_path, labeled=False), torch.randn(40, 3)
    health = {"rankme": 3.0, "spread": 0.5}
    for step, rows in ((0, features), (10, 2 * features), (20, torch.randn(40, 3))):
        assert made.judge(step, {**health, **made.look(step)(Seen(rows))}) == (False, False)
    second, third = capsys.readouterr().out.splitlines()
    assert second == (
        "guard: step 10: RankMe 3.0 -> 3.0, spread 0.50 -> 0.50, 100% of nearest neighbors kept"
    )
    assert "100%" not in third
    resumed = guard(tmp_path, labeled=False)
    resumed.load_state_dict(made.state_dict())
    assert resumed.look(30)(Seen(features)) == {"neighbor_overlap": 1.0}


def test_queries_are_held_out_of_the_gallery(tmp_path):
    made = guard(tmp_path)
    labels = torch.arange(40) % 2
    features = torch.eye(2)[labels] + 0.01 * torch.randn(40, 2)
    gallery = EmbeddingTable(embeddings=features, labels=labels)
    correct = torch.tensor([True, False])
    seen = Seen(features, gallery, correct)
    assert made.look(0)(seen) == {"held_out_knn_top1": 1.0}
    wrong = EmbeddingTable(embeddings=torch.randn(40, 2), labels=labels)
    assert made.look(5)(Seen(wrong.embeddings, wrong, correct))["held_out_knn_top1"] < 1
    assert (tmp_path / "queries.json").exists()


def test_without_a_folder_it_does_nothing():
    made = guard(None)
    assert made.look(0) is None
    assert made.parts == {}
    assert judged(made, 0.5, 0.1) == [(False, False)] * 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stop": True}, r"guard\.stop is true and needs guard\.patience"),
        ({"patience": 0}, r"guard\.patience must be at least 1, got 0"),
        ({"patience": 2, "labeled": False}, r"guard\.patience is 2, and accuracy needs labels"),
    ],
)
def test_settings_that_cannot_be(tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        guard(tmp_path, **options)
