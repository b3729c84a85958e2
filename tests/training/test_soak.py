"""A run of minutes or hours with workers, probes and checkpoints, and signals at random.

``SOAK_MINUTES=120 pytest -m slow tests/training/test_soak.py`` takes two hours; by default ten
minutes.
"""

import os
import random
import signal
import statistics
import time

import numpy as np
import psutil
import pytest
from launching import digest, finish, rows, run, start
from PIL import Image

MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]
COMMAND = [
    "--data.batch_size", "16", "--data.workers", "2", "--data.memory_fraction", "0",
    "--data.disk_fraction", "0", "--train.save_every", "25", "--train.warmup_epochs", "0",
    "--train.log_every", "1", "--evaluation.every_epochs", "2", "--evaluation.k", "5",
    "--train.ema", "0.9",
]  # fmt: skip


@pytest.fixture
def command(tmp_path):
    """100 images of two classes, decoded for each batch."""
    rng = np.random.default_rng(0)
    for i in range(100):
        path = tmp_path / "images" / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 30, 3)).astype(np.uint8)).save(path)
    data = ["--data.source", tmp_path / "images", "--data.cache_dir", tmp_path / "cache"]
    return [*COMMAND, *data, "--data.image_size", "16"]


def speed(command, folder):
    """Steps a second of a run, with all that it does between them."""
    run("pretrain", *command, "--output_dir", folder, "--train.steps", "100")
    half, end = (next(row for row in rows(folder) if row["step"] == step) for step in (50, 100))
    return 50 / (end["wall_s"] - half["wall_s"])


def watch(process, seconds):
    """Memory and descriptors of a run and its workers each half second, until it ends or then."""
    seen, end = [], time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        try:
            own = psutil.Process(process.pid)
            tree = [own, *own.children(recursive=True)]
            seen.append((sum(p.memory_info().rss for p in tree), own.num_fds()))
        except psutil.Error:
            pass
        time.sleep(0.5)
    return seen


def disturb(command, folder, chance):
    """Go on with a run again and again, ended by a signal at random; the signals."""
    sent = []
    while True:
        process = start("pretrain", *command, "--output_dir", folder, "--resume", "true")
        watch(process, chance.uniform(4, 8 + 2 * MINUTES))
        if (number := chance.choice(SIGNALS)) and process.poll() is None:
            sent.append(number.name)
            process.send_signal(number)
        code, _, err = finish(process)
        assert "Traceback" not in err, err
        if code == 0:
            return sent
        assert code in {128 + number, -number}, err


@pytest.mark.slow
def test_a_long_run_that_is_stopped_at_random_stays_flat_and_equal(command, tmp_path):
    steps = max(200, round(speed(command, tmp_path / "short") * MINUTES * 60 * 0.35))
    command = [*command, "--train.steps", str(steps)]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    process = start("pretrain", *command, "--output_dir", whole)
    seen = watch(process, MINUTES * 60 * 5)
    assert finish(process)[0] == 0
    quarter = len(seen) // 4
    early, late = seen[quarter : 2 * quarter], seen[-quarter - 1 : -1]
    memory = [statistics.median(rss for rss, _ in part) for part in (early, late)]
    descriptors = [statistics.median(number for _, number in part) for part in (early, late)]
    sent = disturb(command, stopped, random.Random(0))
    print(f"\n{steps} steps; memory {memory}, descriptors {descriptors}; signals {sent}")
    assert memory[1] < 1.05 * memory[0] + (10 << 20)
    assert descriptors[1] <= descriptors[0] + 2
    assert digest(stopped, steps) == digest(whole, steps)
