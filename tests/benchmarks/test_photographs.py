import pytest
from benchmarks.photographs import make_photographs
from PIL import Image


@pytest.mark.slow
def test_photographs_differ_and_copies_in_a_comment_alone(tmp_path):
    pytest.importorskip("skimage")
    make_photographs(tmp_path, count=5, size=(320, 240), distinct=2)
    files = sorted(tmp_path.glob("*/*.jpg"))
    images = [Image.open(path) for path in files]
    assert [one.size for one in images] == [(320, 240)] * 5
    assert len({one.info["comment"] for one in images}) == 5
    assert len({path.read_bytes() for path in files}) == 5
    pixels = [one.tobytes() for one in images]
    assert pixels[0] == pixels[2] == pixels[4]
    assert pixels[0] != pixels[1]
