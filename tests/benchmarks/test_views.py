import pytest
import torch
from benchmarks import multi_crop_table, view_table
from PIL import Image


@pytest.fixture
def source(tmp_path):
    """Two classes of color images."""
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 16), ("test", 4)):
        for name in ("a", "b"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                noise = torch.randint(0, 256, (16, 16, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(noise.numpy()).save(folder / f"{number}.png")
    return str(tmp_path / "data")


@pytest.mark.slow
def test_the_table_of_our_and_of_stock_views(source, tmp_path, capsys):
    view_table(source, views=64, seeds=2, folder=tmp_path / "runs")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| `")] == [
        "`ours`",
        "`stock`",
    ]


@pytest.mark.slow
def test_the_table_of_multi_crop(source, tmp_path, capsys):
    multi_crop_table([source], minutes=0.001, seeds=2, folder=tmp_path / "runs")
    rows = [line for line in capsys.readouterr().out.splitlines() if source in line]
    assert [row.split("|")[2].strip() for row in rows] == ["2", "2 and 6 small"]


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="seeds must be from 2 to 10 for an interval, got 1"):
        multi_crop_table(seeds=1)
