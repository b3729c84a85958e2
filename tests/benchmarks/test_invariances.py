import numpy as np
import pytest
from benchmarks import invariance_table

from ssl_dml.types import ConfigError


def make(folder, per_class, rng):
    """Bars across; the class is how high they lie, and their brightness is random."""
    for split in ("train", "test"):
        for label in range(4):
            place = folder / split / str(label)
            place.mkdir(parents=True)
            for i in range(per_class):
                image = rng.integers(0, 40, (16, 16))
                image[4 * label : 4 * label + 4] += rng.integers(40, 200)
                np.save(place / f"{i}.npy", np.clip(image, 0, 255).astype(np.uint8))
    return str(folder)


def test_what_makes_the_classes_is_harmed_by_its_invariance(tmp_path):
    source = make(tmp_path / "bars", 15, np.random.default_rng(0))
    found = invariance_table([source], most=60)[source]
    assert found["brightness and contrast"] > 0.9
    assert found["flip"] > 0.9  # bars are the same from left to right
    assert found["crops of 0.2 or more"] < found["brightness and contrast"]  # where a bar is


def test_a_source_without_test_samples_is_named(tmp_path):
    for i in range(20):
        np.save(tmp_path / f"{i}.npy", np.full((8, 8), i, np.uint8))
    with pytest.raises(ConfigError, match="must be images with labeled test samples"):
        invariance_table([str(tmp_path)])
