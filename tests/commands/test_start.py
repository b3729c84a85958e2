"""The whole journey on a few images: each step leaves what the next one takes."""

import json
import signal
import time

import numpy as np
import pytest
from launching import finish, start
from PIL import Image

from ssl_dml.commands.start import StartConfig, main
from ssl_dml.index.index import Index
from ssl_dml.tables import StoredTable
from ssl_dml.types import ConfigError

STEPS = ("describe", "pretrain", "embed", "report", "search")


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(24):
        pixels = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{i}.png")
    (tmp_path / "images/cut.png").write_bytes((tmp_path / "images/0.png").read_bytes()[:100])
    return tmp_path / "images"


def journey(images, folder, **given):
    more = [f"--{key}={value}" for key, value in given.items()]
    return ["start", images, "--output", folder, "--minutes", "0.02", "--serve", "false", *more]


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped(images, tmp_path):
    folder = tmp_path / "all"
    process = start(*journey(images, folder))
    end = time.monotonic() + 120
    while not (folder / "run/checkpoints").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code in (0, 130), err
    assert "Traceback" not in err
    code, out, err = finish(start(*journey(images, folder)))
    assert code == 0, err
    for name in STEPS:
        assert f"ssl_dml {name}" in out
    assert StoredTable(folder / "table").info.rows == Index.open(folder / "index").info.rows == 24
    assert (folder / "report.html").stat().st_size > 10_000
    written = (folder / "table/part-00000.parquet").stat().st_mtime_ns
    code, out, _ = finish(start(*journey(images, folder)))
    assert out.count("done already") == 6  # the page is not opened
    assert (folder / "table/part-00000.parquet").stat().st_mtime_ns == written
    steps = [json.loads(row)["step"] for row in (folder / "run/metrics.jsonl").open()]
    assert steps == sorted(steps)


def test_all_is_below_runs_with_the_name_of_the_source():
    assert StartConfig(source="/data/birds").folder.as_posix() == "runs/birds"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "source"),
        (["gone"], "gone"),
        (["gone", "--minutes", "0"], r"start\.minutes must be positive, got 0"),
    ],
)
def test_a_mistake_is_a_line(args, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words) as error:
        main(args)
    assert "\n" not in str(error.value)
