import pytest
import torch
from benchmarks import invariances
from benchmarks.invariances import CHANGES, invariance_table, recall, views_of

from ssl_dml.data.traits import Traits
from ssl_dml.types import ImageSpec


def test_recall_by_hand(clothes):
    rows = torch.tensor([(clothes.labels == c).nonzero()[i].item() for c in (0, 1) for i in (0, 1)])
    features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0], [0.8, -0.1]])
    assert recall(features, clothes, rows) == 75.0  # at 0, 12, 180 and -15 degrees


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_each_change_is_one_thing_more(channels):
    traits = Traits(images=True, channels=channels, side=8, samples=9)
    spec = ImageSpec(channels=channels, size=8, mean=(0.5,) * channels, std=(0.2,) * channels)
    seen = {}
    for change in CHANGES:
        torch.manual_seed(0)
        views = views_of(traits, spec, change)
        if channels == 1 and change == "grayscale":
            assert views is None
            continue
        assert views is not None
        seen[change] = views(
            (torch.arange(channels * 64) * 5).view(1, -1, 8, 8).byte().repeat(9, 1, 1, 1)
        )[0]
    assert len({tuple(view.flatten().tolist()) for view in seen.values()}) == len(seen)


def test_a_table_of_a_few_images(tmp_path, monkeypatch, capsys, clothes):
    monkeypatch.setattr(invariances, "CHANGES", ("nothing more", "grayscale"))
    monkeypatch.setattr(invariances, "_compared", lambda _: torch.arange(40))
    monkeypatch.setattr(invariances, "load_train", lambda _: clothes)
    invariance_table(sets=["clothes"], steps=1, folder=tmp_path)
    row = capsys.readouterr().out.splitlines()[-1]
    name, kind, raw, found, gray = [cell.strip() for cell in row.strip("|").split("|")]
    assert (name, kind, gray) == ("clothes", "gray", "")
    assert 0 <= float(found) <= 100
    assert float(raw) > 20
