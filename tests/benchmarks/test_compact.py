import io
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from benchmarks import compact
from benchmarks.compact import FORMS, _lines, draw, nested_table
from PIL import Image


@pytest.fixture
def theme(tmp_path, monkeypatch):
    """Ten icons of other colors, of which two are alike, and a link; drawn without the program."""
    place = tmp_path / compact.PAPIRUS
    place.mkdir(parents=True)
    for number in range(10):
        (place / f"icon{number}.svg").write_text(str(min(number, 8)))
    (place / "link.svg").symlink_to(place / "icon0.svg")

    def drawn(command, **_):
        image, number = io.BytesIO(), int(command[-1].read_text())
        Image.new("RGBA", (64, 64), (20 * number, 90, 200, 255)).save(image, "PNG")
        return SimpleNamespace(stdout=image.getvalue())

    monkeypatch.setattr(compact, "USR", tmp_path)
    monkeypatch.setattr(compact, "PROGRAM", "true")
    monkeypatch.setattr(subprocess, "run", drawn)
    return tmp_path


def names(folder, split):
    return {path.name for path in (folder / split).iterdir()}


def test_icons_to_train_on_and_to_test_on_are_others_and_no_two_are_alike(theme):
    draw(theme / "out", train=6, test=3)
    train, test = names(theme / "out", "train"), names(theme / "out", "test")
    assert (len(train), len(test)) == (6, 3)
    assert not train & test
    assert len({"icon8", "icon9"} & (train | test)) == 1
    images = sorted((theme / "out/train" / min(train)).iterdir())
    assert len(images) == compact.DRAWINGS
    assert len({path.read_bytes() for path in images}) == compact.DRAWINGS
    assert Image.open(images[0]).size == (64, 64)
    draw(theme / "chosen", choose=True, train=6, test=3)
    assert names(theme / "chosen", "train") | names(theme / "chosen", "test") == train
    assert len(names(theme / "chosen", "test")) == 2


def test_what_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ValueError, match="apt-get install librsvg2-bin papirus-icon-theme"):
        draw(tmp_path / "out")


def test_the_cost_is_paired_by_run():
    rows = [
        dict.fromkeys(FORMS, 0.5) | {"whole": whole, "first eighth": whole - 0.01}
        for whole in (0.8, 0.6)
    ]
    lines = _lines({("icons", "nested"): rows})
    assert lines[0].startswith("| images | prefixes | whole | first eighth | components |")
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert lines[2].startswith("| icons | nested | 70.00 ± 127.06 | 69.00 ± 127.06 | 50.00 ± 0.00")
    assert lines[2].endswith("| 1.00 ± 0.00 |")


def test_one_seed_has_no_interval(tmp_path):
    with pytest.raises(ValueError, match="seeds must be from 2 to 10 for an interval, got 1"):
        nested_table(seeds=1, folder=tmp_path)
