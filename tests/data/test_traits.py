from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from ssl_dml.data import DataConfig, load_train
from ssl_dml.data.sequences import SequenceConfig
from ssl_dml.data.traits import Traits, ground_share, tone_share, traits_of


def kind(**given: Any):
    usual: dict[str, Any] = {"images": True, "side": 32, "samples": 10, "channels": 3}
    return Traits(**{**usual, **given}).kind


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"channels": 1}, "gray"),
        ({"channels": 1, "flat": 1.0}, "gray"),
        ({"channels": 1, "two_tone": 1.0}, "gray"),
        ({"channels": 1, "flat": 0.51, "two_tone": 0.51}, "glyphs"),
        ({"channels": 1, "flat": 0.5, "two_tone": 0.51}, "gray"),  # half of them are not most
        ({"flat": 0.5}, "color"),
        ({"flat": 0.51}, "drawings"),
        ({"two_tone": 1.0}, "color"),
        ({"channels": 2, "flat": 1.0}, "bands"),
        ({"channels": 4}, "bands"),
        ({"channels": 12}, "bands"),
        ({"images": False, "sampling_rate": 16_000, "channels": 1}, "audio"),
        ({"images": False, "channels": 1}, "series"),
    ],
)
def test_what_samples_are_taken_for(given, expected):
    assert kind(**given) == expected


def test_the_border_tells_a_flat_ground():
    pixels = torch.full((1, 3, 9, 9), 200, dtype=torch.uint8)
    pixels[:, :, 3:6, 3:6] = torch.randint(0, 256, (3, 3, 3), dtype=torch.uint8)
    assert ground_share(pixels) == 1
    pixels[0, 0, 0, :] = 209  # one side of four, 9 levels away in one channel
    assert ground_share(pixels).item() == pytest.approx(25 / 36)  # corners count twice
    pixels[0, 0, 0, :] = 208
    assert ground_share(pixels) == 1


@pytest.mark.parametrize("value", [0, 255])
def test_an_image_of_one_value_has_one_tone(value):
    assert tone_share(torch.full((2, 1, 4, 4), value, dtype=torch.uint8)).tolist() == [1, 1]


def test_a_ramp_has_few_pixels_at_its_ends():
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert tone_share(ramp).item() == pytest.approx(2 * 39 / 256)  # 0 to 38, and 217 to 255


def test_traits_of_drawings(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            image = Image.new("RGBA", (24, 20))
            color = (*rng.integers(0, 256, 3).tolist(), 255)
            ImageDraw.Draw(image).ellipse((4, 4, 16, 16), fill=color)
            image.save(tmp_path / name / f"{number}.png")
    found = traits_of(load_train(DataConfig(source=str(tmp_path))), accelerator=False)
    assert found == Traits(
        images=True, channels=3, side=20, samples=6, flat=1.0, two_tone=1.0, class_size=3
    )
    assert found.kind == "drawings"
    assert found.reason == "3 channels; 100% on a flat ground, 100% of two tones"


def test_the_samples_of_the_toolkit_are_told_apart(clothes):
    assert traits_of(clothes, accelerator=True).kind == "gray"
    glyphs = load_train(DataConfig(source="hangul"))
    found = traits_of(glyphs, accelerator=False)
    assert (found.kind, found.class_size, found.accelerator) == ("glyphs", 24, False)


def test_traits_of_sequences_without_labels(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(7, 2, 50)))
    sequences = SequenceConfig(sampling_rate=None)
    data = DataConfig(source=str(tmp_path / "x.npz"), sequences=sequences)
    found = traits_of(load_train(data), accelerator=False)
    assert found == Traits(images=False, channels=2, side=50, samples=7)
    assert (found.kind, found.reason) == ("series", "2 channels")
