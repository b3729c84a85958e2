import kornia.augmentation as K
import pytest
import torch
from kornia.augmentation.container import AugmentationSequential

from ssl_dml.augment import (
    JPEG,
    ChannelJitter,
    ColorJitter,
    Erase,
    GaussianBlur,
    GrayJitter,
    Solarize,
)
from ssl_dml.augment.drawn import beside, chosen, uniform

EVERY = [
    ColorJitter(probability=0.5, grayscale=0.0),
    ColorJitter(probability=0.5, grayscale=0.0, exact_hue=True),
    GrayJitter(probability=0.5),
    GaussianBlur(3),
    Solarize(probability=0.5),
    Erase(),
    JPEG(quality=(1.0, 20.0)),
]


@pytest.mark.parametrize("made", EVERY, ids=lambda made: type(made).__name__)
def test_samples_that_are_not_drawn_stay_exactly(made):
    images = torch.rand(64, 3, 20, 17)
    found = made(images)
    drawn = made._params["batch_prob"].bool()
    assert 12 < drawn.sum() < 52
    assert torch.equal(found[~drawn], images[~drawn])
    changed = (found != images).flatten(1).any(dim=1)
    assert changed[drawn].float().mean() > 0.9


@pytest.mark.parametrize("made", [*EVERY, ChannelJitter()], ids=lambda made: type(made).__name__)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_precision_is_kept_and_an_empty_batch_is_empty(made, kind):
    images = torch.rand(3, 3, 17, 20, dtype=kind)
    found = made(images)
    assert found.dtype == kind
    assert found.isfinite().all()
    assert made(images[:0]).shape == (0, 3, 17, 20)


@pytest.mark.parametrize("made", [*EVERY, ChannelJitter()], ids=lambda made: type(made).__name__)
def test_parameters_are_replayed_and_can_be_changed(made):
    images = torch.rand(16, 3, 16, 16)
    first, drawn = made(images), made._params
    assert torch.equal(made(images, params=drawn), first)
    if made.p < 1:
        none = drawn | {"batch_prob": torch.zeros(16)}
        assert torch.equal(made(images, params=none), images)


def test_stands_beside_stock_operators_with_masks_and_replay():
    steps = AugmentationSequential(
        ColorJitter(),
        K.RandomHorizontalFlip(p=0.5),
        GaussianBlur(3),
        Erase(probability=0.5),
        K.RandomGrayscale(p=0.2),
        Solarize(probability=0.2),
        data_keys=["input", "mask"],
    )
    images, masks = torch.rand(8, 3, 16, 16), torch.ones(8, 1, 16, 16)
    found, erased = steps(images, masks)
    again, erased_again = steps(images, masks, params=steps._params)
    assert torch.equal(found, again)
    assert torch.equal(erased, erased_again)
    drawn = steps._params[3].data
    area = (drawn["widths"] * drawn["heights"] * drawn["batch_prob"]).round()
    assert torch.equal((1 - erased).sum(dim=(1, 2, 3)), area)
    assert area.max() > 0


def test_a_single_image_keeps_its_shape_if_asked():
    blur = GaussianBlur(3, probability=1.0)
    blur.keepdim = True
    assert blur(torch.rand(3, 8, 8)).shape == (3, 8, 8)


def test_draws_are_of_the_host_wherever_the_module_is():
    blur = GaussianBlur(3, probability=0.5)
    torch.manual_seed(0)
    here = blur.forward_parameters((8, 3, 4, 4))
    torch.manual_seed(0)
    there = blur.to("meta").forward_parameters((8, 3, 4, 4))
    assert torch.equal(here["sigma"], there["sigma"])
    assert torch.equal(here["batch_prob"], there["batch_prob"])


def test_the_helpers():
    images = torch.zeros(2, 1, 2, 2, dtype=torch.float16)
    assert beside(images, torch.ones(2)).dtype == torch.float16
    made = chosen(images, torch.tensor([True, False]), images + 1)
    assert made.flatten(1)[:, 0].tolist() == [1.0, 0.0]
    numbers = uniform(4000, -2.0, 3.0)
    assert -2 <= numbers.min() < -1.9
    assert 2.9 < numbers.max() <= 3
