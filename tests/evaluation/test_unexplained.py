"""What is left of an image that another one does not explain."""

import io
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ssl_dml.evaluation.unexplained import (
    FLOOR,
    MEASURES,
    RESIDUALS,
    measures,
    resized_rest,
    unexplained,
)

SEEN = math.log(FLOOR) + 1.0  # more than that is seen


def smooth_images(count, side=32):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    return F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)


def sharp_images(count, side=32):
    generator = torch.Generator().manual_seed(1)
    return 0.2 + 0.6 * torch.rand(count, 3, side, side, generator=generator)


def plain(count):
    return torch.eye(2, 3).repeat(count, 1, 1)


def by_pillow(images, change):
    made = [
        change(Image.fromarray((one * 255).round().byte().movedim(0, 2).numpy())) for one in images
    ]
    return torch.stack([torch.from_numpy(np.array(one)).movedim(2, 0) for one in made]) / 255


def test_brightness_contrast_and_blur_do_not_count_where_they_are_the_whole_change():
    images, way = 0.6 * smooth_images(3), plain(3)
    for target in (0.1 + 1.3 * images, F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)):
        assert unexplained(images, target, way).max() < SEEN


@pytest.mark.parametrize("resample", ["BILINEAR", "BICUBIC"])
def test_a_part_that_pillow_enlarges_is_explained_to_what_nobody_sees(resample):
    images, box, way = smooth_images(3), (3.0, 4.0, 29.0, 30.0), plain(3)
    kind = Image.Resampling[resample]
    target = by_pillow(images, lambda one: one.resize(one.size, kind, box=box))
    way[:, 0, 0] = way[:, 1, 1] = 26 / 32
    way[:, 0, 2], way[:, 1, 2] = 0.0, 1 / 16  # of the middle, from -1 to 1
    assert unexplained(images, target, way).max() < SEEN
    assert unexplained(images, target, plain(3)).min() > SEEN + 1


@pytest.mark.parametrize("small", [17, 20, 31])
def test_a_copy_that_was_smaller_is_explained_by_that_size_alone(small):
    images = sharp_images(3)
    target = by_pillow(images, lambda one: one.resize((small, small), 3).resize(one.size, 3))
    no, yes = torch.zeros(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool)
    assert resized_rest(images, target, no).max() < SEEN
    assert resized_rest(images.flip(3), target, yes).max() < SEEN
    assert resized_rest(images, target, yes).min() > SEEN + 2
    assert unexplained(images, target, plain(3)).min() > SEEN


def test_of_a_look_alike_every_measure_of_the_rest_is_higher():
    images, fits = smooth_images(4), [plain(4), plain(4)]
    copy, other = 0.9 * images, images.clone()
    other[:, :, 8:16, 8:16] = 1 - other[:, :, 8:16, 8:16]
    less, more = measures(images, copy, fits), measures(images, other, fits)
    assert less.shape == (4, MEASURES)
    assert less.isfinite().all() and more.isfinite().all()
    assert (less[:, :RESIDUALS] <= more[:, :RESIDUALS] + 1e-4).all()
    assert (less[:, 0] < more[:, 0] - 2).all()


def test_the_move_that_explains_most_counts():
    images = smooth_images(2)
    away = plain(2)
    away[:, 0, 2] = 0.2
    wrong, right = (
        measures(images, images, [away, away]),
        measures(images, images, [away, plain(2)]),
    )
    assert wrong[:, 1].min() > SEEN + 1
    assert right[:, 1].max() < SEEN


def test_a_mirrored_image_has_the_shape_of_a_plain_one():
    images = smooth_images(2)
    way = plain(2) * torch.tensor([[-1.0], [1.0]])
    mirrored = measures(images, images.flip(3), [way, way])
    same = measures(images, images, [plain(2), plain(2)])
    torch.testing.assert_close(mirrored, same, atol=0.21, rtol=0)


def test_jpeg_leaves_less_than_another_image():
    def encoded(one):
        file = io.BytesIO()
        one.save(file, "JPEG", quality=75)
        return Image.open(file).convert("RGB")

    images = smooth_images(4)
    copy = unexplained(images, by_pillow(images, encoded), plain(4))
    other = unexplained(images, images.roll(1, 0), plain(4))
    assert copy.max() < other.min() - 2
