import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from ssl_dml.data.decode import ImageDecoder

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def decode(image, decoder):
    return decoder.decode(image).values


def gray(size=8):
    return ImageDecoder(channels=1, size=size)


def color(size=8):
    return ImageDecoder(channels=3, size=size)


def test_gray_is_kept_as_it_is():
    assert np.array_equal(decode(Image.fromarray(RAMP), gray())[0], RAMP)


def test_gray_becomes_color_by_repetition_and_back_by_luminance():
    three = decode(Image.fromarray(RAMP), color())
    assert three.shape == (3, 8, 8)
    assert np.array_equal(three[0], RAMP)
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    assert abs(int(decode(red, gray())[0, 0, 0]) - 0.299 * 255) < 1


def test_palette_is_looked_up():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert decode(image, color())[:, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_white(mode):
    clear = Image.new(mode, (8, 8), (0,) * len(mode))
    half = Image.new(mode, (8, 8), (0,) * (len(mode) - 1) + (128,))
    decoder = color() if mode == "RGBA" else gray()
    assert (decode(clear, decoder) == 255).all()
    assert np.abs(decode(half, decoder).astype(int) - 127).max() <= 1


def test_transparent_palette_is_laid_over_white(tmp_path):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([9, 9, 9])
    image.save(tmp_path / "x.png", transparency=0)
    assert (decode(Image.open(tmp_path / "x.png"), color()) == 255).all()


def test_sixteen_bits_use_the_given_range(tmp_path):
    values = np.array([[0, 1000], [2000, 4095]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    decoder = ImageDecoder(channels=1, size=2, low=0.0, high=4095.0)
    expected = np.round(values / 4095 * 255).astype(np.uint8)
    assert np.array_equal(decode(Image.open(tmp_path / "x.png"), decoder)[0], expected)


def test_arrays_have_any_number_of_channels():
    array = np.random.default_rng(0).integers(0, 256, (8, 8, 5), dtype=np.uint8)
    decoded = decode(array, ImageDecoder(channels=5, size=8))
    assert np.array_equal(decoded, np.moveaxis(array, 2, 0))


@pytest.mark.parametrize("kind", [Image.fromarray, np.asarray])
def test_the_whole_image_is_squashed_and_its_shape_kept(kind):
    image = np.zeros((8, 16), np.uint8)
    image[:, 4:12] = 200
    decoded = gray(8).decode(kind(image))
    assert decoded.aspect == 2
    assert (decoded.values[:, :, 2:6] > 170).all()
    assert (decoded.values[:, :, [0, 7]] == 0).all()
    assert gray(5).decode(kind(RAMP)).aspect == 1


@pytest.mark.parametrize("kind", [Image.fromarray, np.asarray])
def test_a_rectangle_of_the_images_shape_keeps_it(kind):
    image = np.arange(128, dtype=np.uint8).reshape(8, 16)
    decoded = gray((8, 16)).decode(kind(image))
    assert decoded.aspect == 1
    assert np.array_equal(decoded.values[0], image)
    assert gray((16, 8)).decode(kind(image)).aspect == 4


def test_photographs_are_turned_upright(tmp_path):
    image = Image.fromarray(RAMP)
    exif = image.getexif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "x.png", exif=exif)
    assert np.array_equal(decode(Image.open(tmp_path / "x.png"), gray())[0], RAMP[::-1, ::-1])


def test_refuses_channels_that_do_not_fit():
    with pytest.raises(ValueError, match="has 5 channels where the data set has 3"):
        decode(np.zeros((4, 4, 5), np.uint8), color(4))
    with pytest.raises(ValueError, match="is no image"):
        decode(np.zeros(4, np.uint8), gray(4))


def test_what_is_not_finite_becomes_black_or_white():
    array = np.full((8, 8), 5.0, np.float32)
    array[0, :3] = np.nan, np.inf, -np.inf
    decoder = ImageDecoder(channels=1, size=8, low=0.0, high=10.0)
    for image in (array, Image.fromarray(array)):
        assert decode(image, decoder)[0, 0].tolist() == [0, 255, 0, *[128] * 5]
    assert decode(array, ImageDecoder(channels=1, size=4, low=0.0, high=10.0)).max() < 255


def test_images_that_are_mostly_not_finite_are_damaged():
    array = np.full((4, 4), np.nan, np.float32)
    array[0] = 1
    with pytest.raises(ValueError, match="only 25% are finite"):
        decode(array, gray(4))


def test_a_photograph_on_its_side_has_the_shape_that_one_sees(tmp_path):
    image = Image.new("L", (16, 8))
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "x.png", exif=exif)
    assert gray().decode(Image.open(tmp_path / "x.png")).aspect == 0.5


def photograph(width, height, bands=3):
    """Edges, slopes and noise, which a camera has too."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (9, 12, bands), dtype=np.uint8)
    parts = [Image.fromarray(coarse[:, :, i]).resize((width, height)) for i in range(bands)]
    noisy = np.stack(parts, axis=2) + rng.normal(0, 6, (height, width, bands))
    return np.squeeze(noisy.round().clip(0, 255).astype(np.uint8))


def whole(path, size):
    """All of the file's pixels, turned upright, reduced by torch's antialiased filter."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].double()
    return F.interpolate(pixels, size, mode="bilinear", antialias=True)[0].numpy()


@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
@pytest.mark.parametrize(("width", "height"), [(800, 600), (805, 603)])
def test_what_a_jpeg_file_is_decoded_to_ahead_of_resizing_does_not_show(
    tmp_path, orientation, width, height
):
    image = Image.fromarray(photograph(width, height))
    exif = image.getexif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(tmp_path / "x.jpg", quality=95, exif=exif)
    for size in [(40, 40), (37, 90), (90, 37), (150, 150)]:
        decoded = color(size).decode(Image.open(tmp_path / "x.jpg"))
        away = np.abs(decoded.values - whole(tmp_path / "x.jpg", size))
        assert away.mean() < 0.4  # rounding alone: 0.25
        assert away.max() < 3
        sides = (height, width) if orientation in (5, 6, 7, 8) else (width, height)
        assert decoded.aspect == pytest.approx(sides[0] * size[0] / (sides[1] * size[1]))


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_jpeg_files_of_other_modes_are_decoded_alike(tmp_path, mode):
    bands = 1 if mode == "L" else 4
    Image.fromarray(photograph(800, 600, bands), mode=mode).save(tmp_path / "x.jpg", quality=95)
    decoded = decode(Image.open(tmp_path / "x.jpg"), color(50))
    assert np.abs(decoded - whole(tmp_path / "x.jpg", (50, 50))).max() < 3


def test_a_jpeg_file_is_decoded_to_no_more_than_it_takes(tmp_path):
    Image.fromarray(photograph(1600, 1200)).save(tmp_path / "x.jpg")
    for size, read in [(70, (200, 150)), (80, (400, 300)), (400, (1600, 1200))]:
        image = Image.open(tmp_path / "x.jpg")
        color(size).decode(image)
        assert image.size == read


def test_a_jpeg_file_that_is_cut_off_is_damaged_however_small_it_is_decoded(tmp_path):
    Image.fromarray(photograph(800, 600)).save(tmp_path / "x.jpg")
    half = (tmp_path / "x.jpg").read_bytes()[:20_000]
    (tmp_path / "x.jpg").write_bytes(half)
    for size in (20, 600):
        with pytest.raises(OSError, match="truncated"):
            decode(Image.open(tmp_path / "x.jpg"), color(size))
