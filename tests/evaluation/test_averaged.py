import pytest
import torch
import torch.nn.functional as F

from ssl_dml.backbones import Backbone
from ssl_dml.evaluation.averaged import Averaged
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec


class Pixels(Backbone):
    """What it is given, flat."""

    def __init__(self, inputs):
        super().__init__()
        self.inputs, self.feature_dim = inputs, 1

    def forward(self, samples):
        return samples.flatten(1)


IMAGES = Pixels(ImageSpec.imagenet(16))


def test_one_view_stays_as_it_is():
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(Averaged(IMAGES, "one")(images), images.flatten(1))


def test_a_flip_by_hand():
    images = torch.rand(2, 3, 16, 16)
    both = [F.normalize(view.flatten(1), dim=1) for view in (images, images.flip(3))]
    torch.testing.assert_close(Averaged(IMAGES, "flip")(images), (both[0] + both[1]) / 2)


def test_crops_of_a_constant_image_are_the_image_and_count_ten():
    seen = []

    class Counting(Pixels):
        def forward(self, samples):
            seen.append(samples)
            return super().forward(samples)

    images = torch.arange(16.0).expand(1, 3, 16, 16)  # rises from left to right
    Averaged(Counting(ImageSpec.imagenet(16)), "crops")(images)
    assert [view.shape for view in seen] == [images.shape] * 10
    left, right = seen[0], seen[2]
    assert left[0, 0, 0, 0] == 0
    torch.testing.assert_close(right - left, torch.full_like(left, 2.0), atol=1e-4, rtol=0)
    assert torch.equal(seen[1], seen[0].flip(3))


def test_what_cannot_be_is_refused():
    audio = SequenceSpec(channels=1, length=8, mean=(0.0,), std=(1.0,))
    with pytest.raises(ConfigError, match="views 'flip' are for images, not sequences"):
        Averaged(Pixels(audio), "flip")
