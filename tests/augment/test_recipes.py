from pathlib import Path

import pytest
import torch
from launching import Command

from ssl_dml.augment import Auto, Color, Crops, FineTune, Gray, ImageViews, ManyChannel
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec


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


@pytest.mark.parametrize(
    ("recipe", "channels", "options", "energy", "one"),
    [
        (Gray, 1, {"blur": 0.5, "erase": 0.5}, [1.92972, 1.81504, 1.38526], -1.89946),
        (Color, 3, {"blur": 0.5, "solarize": 0.5}, [0.99846, 1.3284, 0.63096], -1.1239),
        (ManyChannel, 5, {"blur": 0.5}, [1.16094, 1.06933, 0.65952], -1.25541),
        (FineTune, 3, {"crops": Crops(views=2), "erase": 0.5}, [0.92307, 1.42917], -0.85206),
        (Auto, 2, {}, [0.97694, 1.28733, 0.52876], -0.92306),
    ],
)
def test_a_seed_gives_the_views_it_always_gave(recipe, channels, options, energy, one):
    """A seed of an older run means the same images."""
    options = {"crops": Crops(views=2, local_views=1, degrees=10.0), **options}
    batch = (torch.arange(4 * channels * 256) % 251).to(torch.uint8).view(4, channels, 16, 16)
    made = recipe(spec(channels), **options)
    torch.manual_seed(0)
    views = made(batch)
    found = [view.square().mean().item() for view in views]
    assert found == pytest.approx(energy, abs=1e-4)
    assert views[0][1, 0, 3, 4].item() == pytest.approx(one, abs=1e-4)


def test_a_recipe_is_a_list_of_steps():
    """Steps see floats from 0 to 1, one batch for each size of view, before normalization."""

    class Invert(torch.nn.Module):
        def forward(self, images):
            return 1 - images

    batch = torch.zeros(4, 1, 16, 16, dtype=torch.uint8)
    (view,) = ImageViews(spec(1), [Invert()], crops=Crops(views=1))(batch)
    assert torch.equal(view, torch.full((4, 1, 16, 16), (1 - 0.5) / 0.25))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_a_recipe_is_one_graph_that_gives_the_same_views(backend):
    command = Command(Path(__file__).with_name("compiled.py"), backend)
    out, errors = command.communicate(timeout=900)
    assert command.returncode == 0, errors
    assert out.splitlines()[-1] == "done"


def test_sequences_are_refused():
    audio = SequenceSpec(channels=1, length=9, mean=(0.0,), std=(1.0,))
    with pytest.raises(ValueError, match=r"this recipe is for images; .*SequenceViews"):
        Crops().large(audio)


@pytest.mark.parametrize(("channels", "recipe"), [(1, Gray), (3, Color), (2, ManyChannel)])
def test_auto_takes_the_recipe_of_the_channels(channels, recipe):
    batch, views = pixels(channels), []
    for made in (Auto(spec(channels)), recipe(spec(channels))):
        torch.manual_seed(1)
        views.append(made(batch))
    assert len(views[0]) == 2
    assert all(torch.equal(a, b) for a, b in zip(*views, strict=True))


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
    for name in ("resolution", "local_resolution"):
        with pytest.raises(ConfigError, match=rf"^crops\.{name} must be positive, got 0\.0"):
            Crops(**{name: 0.0})


def test_crops_refuse_no_views():
    with pytest.raises(ConfigError, match=r"crops\.views must be at least 1, got 0"):
        Crops(views=0)
    with pytest.raises(ConfigError, match=r"crops\.local_views must be at least 0, got -1"):
        Crops(local_views=-1)
