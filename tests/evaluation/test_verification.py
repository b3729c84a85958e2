import importlib
import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from ssl_dml.evaluation import all_pairs, templates, verification
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError

MODULE = importlib.import_module("ssl_dml.evaluation.verification")


def clusters(rows, classes=20, **columns):
    labels = torch.arange(rows) % classes
    values = torch.randn(classes, 8)[labels] + torch.randn(rows, 8)
    names = [f"a/{i}.png" for i in range(rows)]
    return EmbeddingTable(embeddings=values, labels=labels, names=names, columns=columns)


def cosines(one, two):
    one, two = (table.embeddings.double() / table.embeddings.double().norm(dim=1, keepdim=True)
                for table in (one, two))  # fmt: skip
    return one @ two.T


def test_all_pairs_held_or_counted_are_the_same(monkeypatch):
    rows = clusters(160)
    held = verification(rows)
    one, two = torch.triu_indices(160, 160, offset=1)
    same, scores = rows.labels[one] == rows.labels[two], cosines(rows, rows)[one, two]
    assert held["auc"] == pytest.approx(roc_auc_score(same, scores), abs=1e-6)
    assert (held["genuine"], held["impostors"]) == (same.sum(), (~same).sum())
    impostors = scores[~same].sort(descending=True).values
    allowed = math.floor(0.01 * len(impostors))
    expected = (scores[same] > impostors[allowed]).double().mean()
    assert held["tar_at_far_0.01"] == pytest.approx(expected.item())
    assert held["threshold_at_far_0.01"] == pytest.approx(impostors[allowed].item(), abs=1e-6)
    monkeypatch.setattr(MODULE, "HELD", 0)
    monkeypatch.setattr(all_pairs, "BINS", 2**14)
    counted = verification(rows)
    assert counted.keys() == held.keys()
    for name, value in counted.items():
        assert value == pytest.approx(held[name], abs=4e-3, nan_ok=True)


def test_rates_that_too_few_impostors_show_are_no_numbers():
    found = verification(clusters(40), fars=[0.1, 1e-3, 1e-4])
    assert found["impostors"] == 760
    assert not math.isnan(found["tar_at_far_0.1"])
    for name in ("tar_at_far_0.001", "tar_at_far_0.0001_low", "threshold_at_far_0.0001"):
        assert math.isnan(found[name])


@pytest.mark.parametrize("counted", [False, True])
def test_pairs_of_two_tables(monkeypatch, counted):
    monkeypatch.setattr(MODULE, "HELD", 0 if counted else 10**6)
    monkeypatch.setattr(all_pairs, "BINS", 2**14)
    one, two = clusters(70, classes=10), clusters(50, classes=15)
    found = verification(one, two, fars=[0.1])
    same = one.labels[:, None] == two.labels
    expected = roc_auc_score(same.flatten(), cosines(one, two).flatten())
    assert found["auc"] == pytest.approx(expected, abs=1e-4)
    assert found["genuine"] + found["impostors"] == 70 * 50
    assert found["auc_low"] < found["auc"] < found["auc_high"]


def test_accuracy_is_that_of_folds_whose_threshold_others_chose(tmp_path):
    """Squared distances of unit rows, as a protocol of three folds has them."""
    squared = [0.3, 0.62, 1.1, 0.95, 0.41, 1.3, 0.9, 1.52, 0.55, 0.78, 1.21, 0.7]
    angles = [math.acos(1 - far / 2) for far in squared]
    rows = [[math.cos(angle), math.sin(angle)] for angle in [0.0, *angles]]
    names = [str(i) for i in range(13)]
    table = EmbeddingTable(embeddings=torch.tensor(rows), labels=torch.arange(13), names=names)
    lines = [f"0,{i + 1},{int(i % 4 < 2)},{i // 4}" for i in range(12)]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    found = verification(table, fars=[0.5], pairs=tmp_path / "pairs.csv")
    assert found["accuracy"] == 0.75
    assert (found["genuine"], found["impostors"]) == (6, 6)


def test_drawn_pairs_are_as_many_and_seeded():
    rows = clusters(100)
    found, whole = verification(rows, drawn=3000), verification(rows)
    assert (found["genuine"], found["impostors"]) == (3000, 3000)
    assert found["auc"] == pytest.approx(whole["auc"], abs=0.02)
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]
    assert verification(rows, drawn=3000) == pytest.approx(found, nan_ok=True)
    assert verification(rows, drawn=3000, seed=1)["auc"] != found["auc"]


def test_templates_are_compared_by_the_means_of_unit_rows(tmp_path):
    rows = clusters(120, template=[f"t{i % 40}" for i in range(120)])
    pooled = templates(rows, "template")
    unit = rows.embeddings / rows.embeddings.norm(dim=1, keepdim=True)
    for i, name in enumerate(pooled.names):
        torch.testing.assert_close(pooled.embeddings[i], unit[i::40].mean(dim=0))
        assert (name, pooled.labels[i]) == (f"t{i}", rows.labels[i])
    found = verification(rows, template="template", fars=[0.1])
    assert (found["genuine"], found["impostors"]) == (20, 760)
    assert found["auc"] > verification(rows)["auc"]
    (tmp_path / "pairs.csv").write_text("t0,t20,1\nt0,t1,0\nt3,t23,1\nt5,t6,0\n")
    given = verification(rows, template="template", pairs=tmp_path / "pairs.csv", fars=[0.5])
    assert given["impostors"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fars": [0.0]}, "far 0.0 must be above 0 and at most 1"),
        ({"drawn": 0}, "drawn must be at least 1"),
        ({"drawn": 5, "pairs": "x.csv"}, "of the file x.csv or drawn, not both"),
        ({"template": "t"}, "the value '[ab]' of t is shared by samples of two classes"),
        ({"template": "u"}, "no column 'u', only t"),
        ({"confidence": 1.0}, "confidence must be above 0 and below 1"),
    ],
)
def test_options_that_cannot_be_are_named(tmp_path, options, words):
    rows = clusters(4, classes=2, t=[*"abba"])
    if "pairs" in options:
        options["pairs"] = tmp_path.joinpath("..", "x.csv").relative_to(tmp_path / "..")
    with pytest.raises((ConfigError, ValueError), match=words):
        verification(rows, **options)
