"""``ssl_dml describe`` as a user runs it: what it prints, draws and refuses."""

import numpy as np
import pytest
import soundfile
from launching import ROOT, completed
from PIL import Image


def describe(*arguments):
    return completed(ROOT / "scripts/describe.py", *arguments)


@pytest.fixture(scope="module")
def icons(tmp_path_factory):
    root = tmp_path_factory.mktemp("icons")
    for number in range(70):
        path = root / ("house", "mouse")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 12), (255, number, 0)).save(path)
    return root


def test_a_folder_is_described_and_drawn(icons, tmp_path):
    sheet = tmp_path / "sheet.png"
    done = describe(icons, "--sheet", sheet, "--data.image_size", 10)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "70 samples of 10x10, 3 channels",
        "labels: 2 classes by sub-folders, of 35 samples",
        "sizes: all 16x12; decoding to 10x10",
        "shape: typically 1.3 times as wide as high; test view: the center, 75% of it; "
        "--data.test_view sets another, --data.image_size [height,width] a rectangle",
        f"64 samples as a network sees them: {sheet}",
    ]
    drawn = np.asarray(Image.open(sheet))
    assert drawn.shape == (8 * 12, 8 * 12, 3)
    assert drawn[5, 5].tolist() == [255, 0, 0]  # the first sample
    assert drawn[0, 0].tolist() == [255, 255, 255]  # its frame


def test_audio_is_described_and_drawn(tmp_path):
    for number, seconds in enumerate((1, 2, 4)):
        values = np.sin(np.arange(8000 * seconds) / 9).astype(np.float32)
        soundfile.write(tmp_path / f"{number}.wav", values, 8000)
    sheet = tmp_path / "sheet.png"
    done = describe(tmp_path, "--sheet", sheet, "--data.sequences.sampling_rate", 8000)
    assert done.returncode == 0, done.stderr
    assert "lengths: 8,000 to 32,000 values, median 16,000" in done.stdout
    assert np.asarray(Image.open(sheet)).std() > 10


def test_the_axes_of_an_array_are_said(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=(160, 40)))
    sheet = tmp_path / "sheet.png"
    options = ("--data.sequences.sampling_rate", "null", "--sheet", sheet)
    done = describe(tmp_path / "a.npz", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:4] == [
        "160 samples of 40 values, 1 channels",
        "no labels",
        "lengths: all 40 values",
        "x [160, 40] is read as 160 sequences of 40 values; if time is first, save x.T",
    ]
    np.savez(tmp_path / "a.npz", x=np.ones((160, 40)), y=np.arange(40))
    done = describe(tmp_path / "a.npz", *options)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("got shape [40]; x is [time, N] then: save x.T")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "data.source"),
        (["nowhere/at/all"], "data.source 'nowhere/at/all': there is no such file or folder"),
        (["fashion_mini", "--sheet", "a.txt"], "--sheet must be an image file, such as a.png"),
        (["fashion_mini", "--sheet", "no/a.png"], "--sheet no/a.png: there is no folder no"),
        (["fashion_mini", "--data.image_sise", "3"], "did you mean data.image_size"),
    ],
)
def test_a_mistake_is_one_line(arguments, words):
    done = describe(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
