import json

import pytest
import torch
from benchmarks import augment_table
from benchmarks.augment import StockViews

from ssl_dml.types import ImageSpec


def test_stock_views_are_like_ours_in_form():
    spec = ImageSpec.imagenet(16)
    made = StockViews(spec, views=3, resolution=0.5, recipe="solarize")
    views = made(torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8))
    assert [tuple(view.shape) for view in views] == [(4, 3, 8, 8)] * 3
    assert all(view.isfinite().all() for view in views)


@pytest.mark.slow
def test_the_table_has_a_row_for_each_recipe_and_size(tmp_path, capsys):
    augment_table([16, 8], recipes=["simclr", "no_blur"], rounds=1, compiled=False,
                  file=tmp_path / "rows.json")  # fmt: skip
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [(row["recipe"], row["size"]) for row in rows] == [
        ("simclr", 16), ("simclr", 8), ("no_blur", 16), ("no_blur", 8)
    ]  # fmt: skip
    for row in rows:
        assert row["times_ours"] == 1
        assert row["times_stock"] == pytest.approx(row["ours"] / row["stock"])
    assert len(capsys.readouterr().out.splitlines()) == 5
