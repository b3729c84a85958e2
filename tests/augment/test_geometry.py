import pytest
import torch
from kornia.geometry.transform import crop_and_resize
from torch.testing import assert_close
from torchvision.transforms.v2.functional import resized_crop

from ssl_dml.augment.geometry import CropFlip


def smooth(count, side):
    """Images without detail finer than a few pixels."""
    coarse = torch.rand(count, 1, 5, 5)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def box_of(matrix, side):
    """Left, top, width and height in pixels of an upright, unmirrored box."""
    (width, _, x), (_, height, y) = matrix.tolist()
    return (x - width + 1) * side / 2, (y - height + 1) * side / 2, width * side, height * side


def test_the_whole_image_is_left_as_it_is():
    images = torch.rand(4, 3, 8, 8)
    assert_close(CropFlip(8, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0)(images), images)


def test_a_certain_flip_mirrors():
    images = torch.rand(4, 1, 8, 8)
    flipped = CropFlip(8, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=1.0)(images)
    assert_close(flipped, images.flip(3))


def test_boxes_lie_inside_and_fill_their_range():
    crop = CropFlip(8, scale=(0.2, 0.9), flip=0.0)
    matrices = crop.draw(2000)
    boxes = torch.tensor([box_of(matrix, 1.0) for matrix in matrices])
    left, top, width, height = boxes.unbind(1)
    assert (boxes[:, :2] >= -1e-6).all()
    assert (left + width <= 1 + 1e-6).all()
    assert (top + height <= 1 + 1e-6).all()
    whole = (width < 1) & (height < 1)
    area, ratio = (width * height)[whole], (width / height)[whole]
    assert 0.19 < area.min() < 0.23
    assert 0.85 < area.max() < 0.91
    assert 0.74 < ratio.min() < 0.77
    assert 1.30 < ratio.max() < 1.34


@pytest.mark.parametrize("draw", range(5))
def test_differs_little_from_the_stock_operators_on_the_same_boxes(draw):
    """Inside the box all three sample the same points; at its rim ours reads beyond it."""
    torch.manual_seed(draw)
    images = smooth(1, 32)
    crop = CropFlip(24, scale=(0.3, 0.8), flip=0.0)
    matrix = crop.draw(1)
    left, top, width, height = (round(v) for v in box_of(matrix[0], 32))
    exact = torch.tensor([[width / 32, 0, (2 * left + width) / 32 - 1],
                          [0, height / 32, (2 * top + height) / 32 - 1]])[None]  # fmt: skip
    ours = crop.sample(images, exact)
    theirs = resized_crop(images, top, left, height, width, [24, 24], antialias=False)
    assert_close(ours[..., 2:-2, 2:-2], theirs[..., 2:-2, 2:-2], rtol=0, atol=1e-5)
    assert (ours - theirs).abs().max() < 0.1
    corners = [[left, top], [left + width - 1, top],
               [left + width - 1, top + height - 1], [left, top + height - 1]]  # fmt: skip
    kornia = crop_and_resize(images, torch.tensor([corners]).float(), (24, 24), align_corners=False)
    assert (ours - kornia).abs().mean() < 0.02


def test_rotation_turns_the_image():
    images = torch.zeros(2, 1, 9, 9)
    images[:, :, 0, 4] = 1
    turned = CropFlip(9, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, degrees=180.0)(images)
    assert not torch.allclose(turned[0], turned[1])


def test_output_size_is_free():
    assert CropFlip(5)(torch.rand(2, 7, 9, 9)).shape == (2, 7, 5, 5)


@pytest.mark.parametrize(
    "wrong", [{"scale": (0.0, 1.0)}, {"scale": (0.9, 0.1)}, {"ratio": (0.0, 1.0)}]
)
def test_refuses_ranges_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="must be a rising range"):
        CropFlip(8, **wrong)


def kept_shape(crop, aspect, count=4000):
    """Area and ratio, in the original, of boxes drawn in an image of this aspect."""
    matrices = crop.draw(count, torch.full((count,), aspect))
    width, height = matrices[:, 0, 0].abs(), matrices[:, 1, 1]
    return width * height, width / height * aspect, matrices


@pytest.mark.parametrize("aspect", [1.0, 1.5, 12.5, 0.5, 0.08])
def test_boxes_have_their_shape_in_the_original_and_reach_all_of_it(aspect):
    area, ratio, matrices = kept_shape(CropFlip(8, scale=(0.05, 1.0)), aspect)
    assert (area <= 1 + 1e-6).all()
    assert ratio.min() > 0.74
    assert ratio.max() < 1.34
    for row in (0, 1):
        reach = matrices[:, row, 2].abs() + matrices[:, row, row].abs()
        assert (reach <= 1 + 1e-5).all()
        assert reach.max() > 0.98


def test_small_boxes_of_a_long_image_have_the_area_that_was_drawn():
    area, ratio, _ = kept_shape(CropFlip(8, scale=(0.02, 0.05)), 12.5)
    assert (area >= 0.0199).all()
    assert (area <= 0.0501).all()
    assert ratio.std() > 0.1


def test_an_image_that_kept_its_shape_is_cropped_as_before():
    images = torch.rand(16, 1, 8, 8)
    crop = CropFlip(8, degrees=10.0)
    torch.manual_seed(0)
    without = crop(images)
    torch.manual_seed(0)
    assert torch.equal(crop(images, torch.ones(16)), without)


def spread(image):
    """Covariance in pixels of an image's brightness over its places, columns first."""
    rows, columns = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float) for n in image.shape), indexing="ij"
    )
    places = torch.stack([columns, rows]).flatten(1)
    return torch.cov(places, aweights=image.flatten())


@pytest.mark.parametrize("size", [32, (32, 64)])
@pytest.mark.parametrize("degrees", [0.0, 60.0])
def test_a_disc_stays_a_disc(size, degrees):
    """Of an image twice as wide as high, stored squashed to a square."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    squashed = ((columns - 31.5) * 2) ** 2 + (rows - 31.5) ** 2 < 24**2
    crop = CropFlip(size, scale=(1.0, 1.0), ratio=(1.0, 1.0), degrees=degrees, flip=0.0)
    aspect = torch.tensor([2.0 * crop.sides[0] / crop.sides[1]])
    matrix = crop.draw(1, aspect)
    matrix[:, :, 2] = 0  # centered
    view = crop.sample(squashed.float()[None, None], matrix)[0, 0]
    across, down, tilt = spread(view)[0, 0], spread(view)[1, 1], spread(view)[0, 1]
    assert abs(across / down - 1) < 0.05
    assert abs(tilt) / down < 0.05
    assert abs(across.sqrt() / 6 - 1) < 0.05  # half of a radius of 12 pixels of 32


def test_a_bar_turns_by_the_angle_in_the_original():
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    bar = ((columns - 31.5).abs() * 2 < 28) & ((rows - 31.5).abs() < 4)  # stored, half as wide
    torch.manual_seed(3)
    crop = CropFlip(64, scale=(1.0, 1.0), ratio=(1.0, 1.0), degrees=40.0, flip=0.0)
    matrix = crop.draw(1, torch.tensor([2.0]))
    angle = torch.atan2(matrix[0, 1, 0], matrix[0, 1, 1])
    matrix[:, :, 2] = 0
    seen = spread(crop.sample(bar.float()[None, None], matrix)[0, 0])
    measured = 0.5 * torch.atan2(2 * seen[0, 1], seen[0, 0] - seen[1, 1])
    assert abs(abs(measured) - abs(angle)) < 0.03
