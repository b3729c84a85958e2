"""Sequences through the scripts as a user runs them, with a backbone of the user's own."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from launching import completed

ROOT = Path(__file__).parents[2]
BACKBONE = """
from torch import nn
from ssl_dml.backbones import Backbone
from ssl_dml.types import ImageSpec, SequenceSpec


class Pooled(Backbone):
    def __init__(self, inputs: ImageSpec | SequenceSpec, *, width: int = 16):
        super().__init__()
        self.inputs, self.feature_dim = inputs, width
        self.layers = nn.Sequential(
            nn.Conv1d(inputs.channels, width, 32, stride=8), nn.ReLU(), nn.Conv1d(width, width, 4)
        )

    def forward(self, samples):
        return self.layers(samples).mean(2)
"""
CONFIG = """
output_dir: {run}
data: {{source: {source}, batch_size: 16, sequences: {{sampling_rate: 8000}}}}
augment: {{class_path: ssl_dml.augment.SequenceViews, init_args: {{window: 1500, reverb: 0.5}}}}
backbone: {{class_path: own.Pooled, init_args: {{width: 16}}}}
method: {{class_path: ssl_dml.methods.SimCLR, init_args: {{temperature: 0.2}}}}
optimizer: {{class_path: torch.optim.SGD, init_args: {{lr: 0.05}}}}
train: {{epochs: 5, save_every: 2}}
evaluation: {{every_epochs: 2, k: 3}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Tones of two heights by speakers of two rates, and what trains on them."""
    root = tmp_path_factory.mktemp("sequences")
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 6)):
        for label, hertz in (("high", 1100), ("low", 400)):
            (root / "audio" / split / label).mkdir(parents=True)
            for number in range(count):
                rate = 8000 if number % 2 else 11025
                time = np.arange(rate // 4) / rate
                tone = 0.3 * np.sin(2 * np.pi * (hertz * time + rng.uniform()))
                noisy = tone + rng.normal(0, 0.1, len(tone))
                soundfile.write(root / "audio" / split / label / f"{number}.flac", noisy, rate)
    (root / "own.py").write_text(BACKBONE)
    (root / "config.yaml").write_text(CONFIG.format(run=root / "run", source=root / "audio"))
    return root


def run(place, script, *arguments):
    environment = {
        "PYTHONPATH": f"{place}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "HOME": str(place),
    }
    return completed(ROOT / f"scripts/{script}.py", *arguments, env=environment)


@pytest.fixture(scope="module")
def finished(place):
    done = run(place, "pretrain", "--config", place / "config.yaml")
    assert done.returncode == 0, done.stderr
    return done


def test_a_run_says_what_it_trains_on_and_how_well(place, finished):
    for words in (
        "40 samples of 2000 values, 1 channels",
        "12 test samples query 40 training samples",
        "random weights",
        "log-mel statistics          100.0%",
    ):
        assert words in finished.stdout
    assert "20 of 40 audio files have another sampling rate (11025 Hz)" in finished.stdout
    about = json.loads((place / "run/data.json").read_text())
    assert (about["samples"], about["sampling_rate"], about["length"]) == (40, 8000, 2000)


@pytest.mark.usefixtures("finished")
def test_its_first_step_shows_waves(place):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(place / "run/tensorboard"))
    board.Reload()
    (shown,) = board.Images("views")
    assert (shown.height, shown.width) == (8 * 50, 3 * 258)


@pytest.mark.usefixtures("finished")
def test_a_probe_works_from_the_run_folder_alone(place):
    done = run(place, "evaluate", "--run", place / "run", "--knn.ks", "[3]", "--trust", "true")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (place / "run/metrics.jsonl").read_text().splitlines()]
    results = json.loads((place / "run/knn.json").read_text())
    assert results["knn_top1"] == [r for r in rows if "eval/knn_top1" in r][-1]["eval/knn_top1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data.sequences", "null"], "holds audio: set data.sequences"),
        (["--augment.init_args.window", "2001"], "the length of the sequences, 2000; got 2001"),
        (["--augment", "ssl_dml.augment.Auto"], "use ssl_dml.augment.SequenceViews"),
        (
            ["--backbone", "ssl_dml.backbones.TimmBackbone", "--backbone.name", "resnet18"],
            "TimmBackbone is for images",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(place, tmp_path, arguments, words):
    command = ["--config", place / "config.yaml", "--output_dir", tmp_path / "run", *arguments]
    done = run(place, "pretrain", *command)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert words in line
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_damaged_audio_is_left_out_on_demand(place, tmp_path):
    (place / "audio/train/low/broken.wav").write_bytes(b"RIFF")
    try:
        command = ["--config", place / "config.yaml", "--output_dir", tmp_path / "run"]
        stopped = run(place, "pretrain", *command)
        skipped = run(place, "pretrain", *command, "--data.on_error", "skip")
    finally:
        (place / "audio/train/low/broken.wav").unlink()
    assert "error: damaged sample" in stopped.stderr
    assert "broken.wav" in stopped.stderr
    assert skipped.returncode == 0, skipped.stderr
    assert "1 damaged samples are left out; data.json names them" in skipped.stdout
