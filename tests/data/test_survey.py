import numpy as np
import pytest
from PIL import Image

from ssl_dml.data.folders import FolderSource
from ssl_dml.data.survey import survey

GIVEN = ("channels", "image_size", "value_range", "test_view")


def found(folder, **given):
    defaults = dict.fromkeys(GIVEN)
    return survey(FolderSource(folder), **{**defaults, **given}).decoder


def said(folder, **given):
    defaults = dict.fromkeys(GIVEN)
    return survey(FolderSource(folder), **{**defaults, **given}).lines()


def test_images_of_one_small_size_keep_it(tmp_path):
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    assert (found(tmp_path).size, found(tmp_path).channels) == (30, 1)
    size, shape = said(tmp_path)
    assert size == "sizes: all 40x30; decoding to 30x30"
    assert shape == (
        "shape: typically 1.3 times as wide as high; test view: the center, 75% of it; "
        "--data.test_view sets another, --data.image_size [height,width] a rectangle"
    )


@pytest.mark.parametrize("accelerator", [False, True])
@pytest.mark.parametrize(
    ("sizes", "side", "side_on_accelerator", "words"),
    [
        ([(300, 400)], 96, 256, "images are large"),
        ([(90, 90)], 90, 90, ""),
        ([(250, 300), (230, 300), (230, 231)], 96, 224, ""),
        ([(8, 8), (9, 9)], 16, 16, "images differ in size"),
        ([(48, 48), (50, 50), (60, 48)], 48, 48, "images differ in size"),
        ([(70, 80), (80, 70)], 64, 64, "images differ in size"),
    ],
)
def test_other_sizes_are_chosen_and_said(
    tmp_path, monkeypatch, sizes, side, side_on_accelerator, words, accelerator
):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: accelerator)
    for i, shape in enumerate(sizes):
        Image.new("L", shape).save(tmp_path / f"{i}.png")
    assert found(tmp_path).size == (side_on_accelerator if accelerator else side)
    assert words in said(tmp_path)[0]
    assert found(tmp_path, image_size=10).size == 10
    assert found(tmp_path, image_size=(20, 10)).shape == (1, 20, 10)


@pytest.mark.parametrize(
    ("shape", "given", "size", "view", "lost"),
    [
        ((400, 32), None, None, "squash", 0.0),
        ((400, 32), "center", None, "center", 0.92),
        ((400, 32), None, (32, 400), "center", 0.0),
        ((64, 128), None, None, "squash", 0.0),
        ((64, 128), None, (128, 64), "center", 0.0),
        ((40, 30), None, None, "center", 0.25),
        ((40, 30), "pad", None, "pad", 0.0),
    ],
)
def test_the_view_at_test_time_follows_from_the_shape(tmp_path, shape, given, size, view, lost):
    Image.new("L", shape).save(tmp_path / "a.png")
    source, options = FolderSource(tmp_path), dict.fromkeys(GIVEN)
    seen = survey(source, **{**options, "test_view": given, "image_size": size})
    assert (seen.test_view, seen.lost) == (view, pytest.approx(lost))
    assert ("shape: typically" in "".join(seen.lines())) == (size is None)


def test_the_most_channels_win(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    assert found(tmp_path).channels == 3
    assert found(tmp_path, channels=1).channels == 1
    assert said(tmp_path)[1] == (
        "channels: 1 in 1, 3 in 1 of 2 images; all become 3; --data.channels sets another"
    )


def test_the_range_of_many_bits_is_measured(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[10, 500]], np.uint16))
    decoder = found(tmp_path)
    assert (decoder.low, decoder.high) == (10, 500)
    assert found(tmp_path, value_range=(0.0, 9.0)).high == 9
    assert said(tmp_path)[-1] == (
        "values from 10 to 500 become 0 to 255; --data.value_range sets others"
    )
    assert "from 10 to 500; 0 to 9 become 0" in said(tmp_path, value_range=(0.0, 9.0))[-1]


def test_a_damaged_image_is_left_to_decoding(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no")
    assert found(tmp_path).size == 8


def test_the_range_is_that_of_finite_values(tmp_path):
    for i, odd in enumerate([np.nan, np.inf, -np.inf]):
        np.save(tmp_path / f"{i}.npy", np.array([[odd, 0.5, 2.0 + i]], np.float32))
    np.save(tmp_path / "3.npy", np.array([[np.nan, np.nan, 99.0]], np.float32))
    source = FolderSource(tmp_path)
    decoder = survey(source, **dict.fromkeys(GIVEN)).decoder
    assert (decoder.low, decoder.high) == (0.5, 4.0)
    assert source.notes == [
        "3 of 4 images that were looked at hold values that are not finite; NaN becomes black"
    ]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00v\x00{"])
def test_a_damaged_array_is_left_to_decoding(tmp_path, content):
    np.save(tmp_path / "a.npy", np.zeros((8, 8), np.uint8))
    (tmp_path / "b.npy").write_bytes(content)
    assert found(tmp_path).size == 8


def test_what_the_center_loses_is_that_of_the_median_image(tmp_path):
    for i, shape in enumerate([(8, 8), (16, 8), (32, 8)]):
        Image.new("L", shape).save(tmp_path / f"{i}.png")
    seen = survey(FolderSource(tmp_path), **{**dict.fromkeys(GIVEN), "test_view": "center"})
    assert seen.lost == 0.5
    assert "sizes: 8x8 to 32x8, median 16x8; images differ in size" in seen.lines()[0]
    assert seen.metadata() == {
        "looked_at": 3,
        "smallest": (8, 8),
        "median": (16, 8),
        "largest": (32, 8),
        "test_view": "center",
        "lost_at_test_time": 0.5,
        "images_by_channels": {1: 3},
        "values": None,
    }


def test_channels_first_and_several_frames_are_said(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 20, 30), np.uint8))
    frames = [Image.new("L", (30, 20), value) for value in (0, 200)]
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=frames[1:])
    source = FolderSource(tmp_path)
    seen = survey(source, **dict.fromkeys(GIVEN))
    assert seen.sizes == [(30, 20), (30, 20)]
    assert source.notes == [
        "1 of 2 images that were looked at have several pages or frames; the first is read",
        "1 of 2 arrays that were looked at are read as [channels, height, width]",
    ]


def test_one_array_of_many_channels_does_not_decide_for_images(tmp_path):
    np.save(tmp_path / "faces.npy", np.zeros((40, 25, 25), np.uint8))
    for number, mode in enumerate(["L", "RGB", "L"]):
        Image.new(mode, (8, 8)).save(tmp_path / f"{number}.png")
    assert found(tmp_path).channels == 3
