import pytest
import torch
from PIL import Image

from ssl_dml.benchmarking import Setting, speed
from ssl_dml.benchmarking.setting import FailedError, NotHereError
from ssl_dml.losses import nt_xent


@pytest.fixture
def setting(tmp_path):
    return Setting(device=torch.device("cpu"), small=True, folder=tmp_path, command=["echo"])


def test_tiles_have_the_gradient_of_the_whole_matrix(setting):
    found = {}
    speed.check_tiles(setting, found)
    assert 0 < found["largest difference of a gradient"] < speed.CLOSE
    assert {"512 rows, dense, ms", "512 rows, tiles of 256, ms"} <= found.keys()


def test_another_gradient_fails(setting, monkeypatch):
    def warmer(first, second, *, temperature, tile_size):
        return nt_xent(first, second, temperature=1.01 * temperature, tile_size=tile_size)

    monkeypatch.setattr(speed, "nt_xent", warmer)
    with pytest.raises(FailedError, match=r"gradient beyond 0\.0001: 256 rows in"):
        speed.check_tiles(setting, {})


def test_a_benchmark_that_prints_nothing_fails(setting):
    with pytest.raises(FailedError, match="printed no speeds"):
        speed.check_throughput(setting, {})


def test_photographs_are_smooth_jpeg_files(tmp_path):
    speed._photographs(tmp_path / "made", 3, 64)
    paths = sorted((tmp_path / "made").iterdir())
    assert [path.name for path in paths] == ["00000.jpg", "00001.jpg", "00002.jpg"]
    with Image.open(paths[0]) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (64, 64), "RGB")


def test_memory_is_told_on_cuda_alone(setting):
    with pytest.raises(NotHereError, match="CUDA alone"):
        speed.check_memory(setting, {})
