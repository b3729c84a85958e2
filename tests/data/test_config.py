import pytest

from ssl_dml.config import ConfigError
from ssl_dml.data.config import DataConfig


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "data.batch_size must be at least 1, got 0"),
        ({"image_size": -3}, "data.image_size must be from 1 to 4096, got -3"),
        ({"memory_fraction": 1.5}, r"data.memory_fraction must be from 0 to 1, got 1\.5"),
        ({"value_range": (5.0, 5.0)}, "data.value_range must rise"),
    ],
)
def test_refuses_settings_that_cannot_be(changes, words):
    with pytest.raises(ConfigError, match=words):
        DataConfig(source="fashion_mini", **changes)
