import time

import numpy as np
import pytest
from benchmarks.input import demand_rates, start_seconds
from PIL import Image

from ssl_dml.types import ConfigError


@pytest.fixture
def images(tmp_path):
    for label in "ab":
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(20):
            values = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / "images" / label / f"{number}.jpg")
    return tmp_path / "images"


@pytest.mark.slow
def test_the_decoder_alone_and_the_loader_are_measured(images, tmp_path):
    began = time.perf_counter()
    found = demand_rates(images, 32, rounds=3, cache_dir=tmp_path / "cache")
    took = time.perf_counter() - began
    assert found["lowest_share"] <= found["on_demand_share"] <= found["highest_share"]
    for name in ("decoder", "on_demand"):
        assert found[name] >= 40 / took  # each is a part of the whole


@pytest.mark.slow
def test_a_folder_that_is_too_small_to_be_remembered_is_refused(images, tmp_path):
    with pytest.raises(ConfigError, match="fewer than 10,000 images"):
        start_seconds(images, cache_dir=tmp_path / "cache")
