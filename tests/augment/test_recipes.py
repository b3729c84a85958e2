import pytest
import torch

from ssl_dml.augment import Auto, Color, Crops, FineTune, Gray, ManyChannel
from ssl_dml.types import ImageSpec


def spec(channels, size=16):
    return ImageSpec(channels=channels, size=size, mean=(0.5,) * channels, std=(0.25,) * channels)


def pixels(channels, count=6, size=16):
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8)


EVERY = [
    (Gray, 1, {"blur": 0.5, "erase": 0.5}),
    (Color, 3, {"blur": 0.5, "solarize": 0.5}),
    (ManyChannel, 5, {"blur": 0.5}),
    (FineTune, 3, {"erase": 0.5}),
]


@pytest.mark.parametrize(("recipe", "channels", "options"), EVERY)
def test_views_and_local_views(recipe, channels, options):
    crops = Crops(views=2, local_views=3, local_resolution=0.5)
    views = recipe(spec(channels), crops=crops, **options)(pixels(channels))
    assert [tuple(view.shape) for view in views] == [(6, channels, 16, 16)] * 2 + [
        (6, channels, 8, 8)
    ] * 3
    assert all(view.isfinite().all() for view in views)


@pytest.mark.parametrize(("recipe", "channels", "options"), EVERY)
def test_draws_are_independent_between_samples_and_views(recipe, channels, options):
    """Equal images in one batch all look different, and so do their views."""
    same = pixels(channels, count=1).repeat(32, 1, 1, 1)
    views = recipe(spec(channels), crops=Crops(views=2), **options)(same)
    rows = torch.cat(views).flatten(1)
    assert len(rows.unique(dim=0)) == 64


def test_draws_of_neighbors_are_uncorrelated():
    """Brightness of sample i says nothing about that of sample i + 1 or of the other view."""
    same = torch.full((512, 1, 8, 8), 128, dtype=torch.uint8)
    recipe = Gray(spec(1, 8), gamma=0.0, contrast=0.0, jitter=1.0)
    first, second = (view.mean((1, 2, 3)) for view in recipe(same))
    table = torch.stack([first[:-1], first[1:], second[:-1]])
    off = torch.corrcoef(table)[~torch.eye(3, dtype=torch.bool)]
    assert off.abs().max() < 0.2


def test_the_same_generator_state_gives_the_same_views():
    batch = pixels(3)
    state = torch.get_rng_state()
    recipe = Color(spec(3), blur=0.5)
    first = recipe(batch)
    torch.set_rng_state(state)
    assert all(torch.equal(a, b) for a, b in zip(first, recipe(batch), strict=True))


@pytest.mark.parametrize(("channels", "recipe"), [(1, Gray), (3, Color), (2, ManyChannel)])
def test_auto_takes_the_recipe_of_the_channels(channels, recipe):
    auto = Auto(spec(channels))
    assert isinstance(auto.recipe, recipe)
    assert len(auto(pixels(channels))) == 2


def test_views_are_normalized():
    batch = torch.full((4, 1, 8, 8), 255, dtype=torch.uint8)
    recipe = Gray(spec(1, 8), brightness=0.0, contrast=0.0, gamma=0.0)
    assert torch.allclose(recipe(batch)[0], torch.tensor(2.0))


def test_color_refuses_gray_images():
    with pytest.raises(ValueError, match="Color is for 3 channels and the images have 1"):
        Color(spec(1))


def test_resolution_is_relative_to_the_images():
    (view,) = Gray(spec(1, 28), crops=Crops(views=1, resolution=0.7))(pixels(1, size=28))
    assert view.shape == (6, 1, 20, 20)
    with pytest.raises(ValueError, match=r"must be positive, got 0\.0 and 0\.5"):
        Crops(resolution=0.0)


def test_crops_refuse_no_views():
    with pytest.raises(ValueError, match=r"crops.views must be at least 1 .* got 0 and 0"):
        Crops(views=0)
