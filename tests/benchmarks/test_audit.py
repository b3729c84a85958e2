import numpy as np
import pytest
from benchmarks import audit_table
from benchmarks.audit import CHANGES, planted
from PIL import Image


def noise(rng, side, mode="RGB"):
    shape = (6, 6) if mode == "L" else (6, 6, 3)
    image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
    return image.resize((side, side), Image.Resampling.BICUBIC)


def test_copies_of_different_images_are_planted_for_each_change():
    rng = np.random.default_rng(0)
    case = planted([noise(rng, 40, "L") for _ in range(20)], size=28, each=2, seed=0)
    assert case.images.shape == (32, 1, 28, 28)
    assert list(case.pairs.values()) == [name for name in CHANGES for _ in range(2)]
    assert [copy for _, copy in case.pairs] == list(range(20, 32))
    assert len({original for original, _ in case.pairs}) == 12
    assert all((case.images[a] != case.images[b]).any() for a, b in case.pairs)


@pytest.mark.slow
def test_the_table_tells_recall_and_precision(tmp_path):
    rng = np.random.default_rng(0)
    noise(rng, 640).save(tmp_path / "photo.png")
    Image.fromarray(rng.integers(0, 256, (640, 640, 3), dtype=np.uint8)).save(tmp_path / "b.png")
    (found,) = audit_table(sets=(), photos=tmp_path, each=2, seeds=[0])
    assert found["candidates"] == 1
    assert found["recall"] >= 0.9
    assert found["changes"].keys() == CHANGES.keys()
    assert 0 <= found["precision"] <= 1
