"""Changed copies of images, made to learn from them what a copy looks like."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

Change = Callable[[Image.Image, np.random.Generator], Image.Image]
CUBIC = Image.Resampling.BICUBIC


def _encoded(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(60, 96)))
    return Image.open(file).convert(image.mode)


def _resized(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    small = max(2, round(image.width * rng.uniform(0.55, 0.95)))
    return image.resize((small, small), CUBIC).resize(image.size, CUBIC)


def _cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    part = rng.uniform(0.78, 0.95)
    x, y = rng.uniform(0, 1 - part, 2) * image.width
    box = (x, y, x + part * image.width, y + part * image.height)
    return image.resize(image.size, CUBIC, box=box)


def _turned(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    fill = int(rng.choice([0, 255]))
    angle = rng.choice([-1, 1]) * rng.uniform(2, 5.5)
    return image.rotate(angle, CUBIC, fillcolor=(fill,) * 3 if image.mode == "RGB" else fill)


def _brightened(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(float(rng.uniform(1.1, 1.4)))


def _mirrored(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    mirror = ImageOps.mirror(image)
    return _encoded(mirror, rng) if rng.integers(2) else mirror


CHANGES: Sequence[Change] = (_encoded, _resized, _cropped, _turned, _brightened, _mirrored)
CROPPED = CHANGES.index(_cropped)
DIFFERENT = 0.02  # least mean of the squared difference of what is pasted, of values up to 1


def changed(
    images: Float[Tensor, "batch channels side side"], *, seed: int = 0
) -> Float[Tensor, "batch channels side side"]:
    """A changed copy of each image, by each change in turn, of random strength.

    Args:
        images: Values from 0 to 1, of one channel or three.
        seed: Of the strengths.
    """
    rng = np.random.default_rng(seed)
    made = list[Tensor]()
    for number, image in enumerate(_pixels(images)):
        one = CHANGES[number % len(CHANGES)](Image.fromarray(image.squeeze()), rng)
        made.append(torch.from_numpy(np.atleast_3d(np.array(one))).movedim(2, 0).float() / 255)
    return torch.stack(made)


def edited(
    images: Float[Tensor, "batch channels side side"],
    others: Float[Tensor, "batch channels side side"],
    *,
    seed: int = 0,
) -> tuple[Float[Tensor, "batch channels side side"], Bool[Tensor, " batch"]]:
    """Images with a part of another one pasted at the same place, and whether one sees it.

    They are no copies of the images, however much else is equal.

    Args:
        images: Values from 0 to 1.
        others: As many.
        seed: Of the places.
    """
    rng, side = np.random.default_rng(seed), images.shape[-1]
    found, seen = images.clone(), list[bool]()
    for one, other in zip(found, others, strict=True):
        width, height = (rng.uniform(0.2, 0.5, 2) * side).astype(int) + 1
        x, y = int(rng.integers(side - width + 1)), int(rng.integers(side - height + 1))
        part = (slice(None), slice(y, y + int(height)), slice(x, x + int(width)))
        seen.append(float((one[part] - other[part]).square().mean()) >= DIFFERENT)
        one[part] = other[part]
    return found, torch.tensor(seen, dtype=torch.bool)


def _pixels(images: Tensor) -> np.ndarray:
    return (images * 255).round().byte().movedim(1, 3).numpy()
