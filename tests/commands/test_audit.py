"""``ssl_dml audit`` as a user runs it: what it finds, writes and refuses, and its page."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from ssl_dml.commands.audit import main
from ssl_dml.commands.evaluate import main as evaluate
from ssl_dml.data import DataConfig, load_train
from ssl_dml.types import ConfigError


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("audit"), np.random.default_rng(0)
    for split, count in (("train", 48), ("test", 16)):
        for number in range(count):
            label = number % 2
            shade = rng.integers(0, 256, (6, 6, 3)) // 3 + 170 * np.eye(3, dtype=int)[2 * label]
            path = root / "images" / split / "ab"[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(shade.clip(0, 255).astype(np.uint8))
            image.resize((40, 40), Image.Resampling.BICUBIC).save(path)
    train, test = root / "images/train", root / "images/test"
    shutil.copy(train / "a/0.png", test / "a/copy.png")
    ImageOps.mirror(Image.open(train / "b/3.png")).save(train / "b/mirror.png")
    (train / "b/7.png").rename(train / "a/7.png")  # a wrong label
    main([str(root / "images"), "--output", str(root / "out"), "--drop", str(root / "drop.txt")])
    return root


def test_what_was_planted_is_found(audited):
    with (audited / "out/audit.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["kind"], row["path"], row["other"]) for row in rows if row["kind"] != "label"}
    assert found == {
        ("duplicate", "train/a/0.png", "test/a/copy.png"),
        ("near_duplicate", "train/b/mirror.png", "train/b/3.png"),
    }
    (label,) = [row for row in rows if row["kind"] == "label"]
    assert (label["path"], label["reason"]) == (
        "train/a/7.png",
        "labeled a; neighbors and probe say b",
    )
    values = json.loads((audited / "out/audit.json").read_text())
    assert values["counts"] == {"leak": 1, "near_duplicate": 1, "label": 1}
    effect = values["leak_effect"]
    assert effect["low"] <= effect["mean"] <= effect["high"]
    assert len(values["findings"]) == len(rows)


def test_the_list_of_copies_is_what_data_exclude_takes(audited):
    drop = audited / "drop.txt"
    assert drop.read_text() == "train/a/0.png\ntrain/b/mirror.png\n"
    train = load_train(DataConfig(source=str(audited / "images"), exclude=drop))
    assert len(train) == 47
    assert train.notes[-1] == "data.exclude: 2 samples left out"


def test_the_page_is_looked_through_by_keyboard(audited):
    api = pytest.importorskip("playwright.sync_api")
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("there is no chromium")
    with api.sync_playwright() as play:
        options = {"executable_path": "/usr/bin/chromium", "args": ["--no-sandbox"]}
        browser = play.chromium.launch(**options)
        page, problems = browser.new_page(), []
        page.on("console", lambda message: problems.append(message.text))
        page.goto(f"file://{audited}/out/audit.html")
        assert page.inner_text("#count") == "2 samples to drop"
        page.keyboard.press("k")  # the leak is kept
        page.keyboard.press("ArrowDown")
        page.keyboard.press("d")  # the label is dropped
        with page.expect_download() as download:
            page.click("#download")
        names = Path(download.value.path()).read_text().split()
        browser.close()
    assert names == ["train/b/mirror.png", "train/a/7.png"]
    assert problems == []


def test_a_mistake_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        main([str(tmp_path / "nothing"), "--output", str(tmp_path / "out")])
    with pytest.raises(ConfigError, match=r"--drop .*: there is no folder"):
        main(["fashion_mini", "--drop", str(tmp_path / "no/drop.txt")])
    with pytest.raises(ConfigError, match="is no run folder"):
        evaluate(["--run", str(tmp_path)])
