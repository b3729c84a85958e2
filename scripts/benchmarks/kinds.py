"""Sets of images of kinds that the toolkit has no sample of: icons, textures, many bands."""

import random
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from subprocess import CalledProcessError

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageOps

from benchmarks.domains import SIDE, USR, drawn_icon, files_of_theme
from ssl_dml.progress import progress
from ssl_dml.types import ConfigError

THEMES = ("Adwaita", "Numix", "Papirus", "Tango", "breeze", "elementary", "gnome", "oxygen")
SEVERAL = 3  # makers that draw an icon that is searched for
HELD = 0.3  # of their names, for testing
OTHERS = 3_500  # names of fewer makers, to train on
PHOTOGRAPHS = (
    "astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "ihc.png",
    "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip
TEXTURES = ("brick", "grass", "gravel", "camera", "coins", "moon", "page", "text", "cell")
SMALL, HEIGHT = 32, 512  # sides of an image, and of a photograph that it is cut from
BANDS, MIXTURES = 6, 12
PART, APART = 0.6, 0.65  # training images are left of the one, and test images right of the other


def draw_icons(folder: Path, *, others: int = OTHERS) -> None:
    """Write ``train/NAME/THEME.png`` and ``test/NAME/THEME.png``: icons of Debian's themes.

    What several themes call by one name is one class. Three in ten of the names that three themes
    or more have are for testing and in no training. Equal images are written once.

    Args:
        folder: Where they go, unless it is there already.
        others: How many names of fewer themes are trained on as well.

    Raises:
        ValueError: If too few themes are installed.
    """
    if folder.exists():
        return
    places = [USR / "icons" / name for name in THEMES if (USR / "icons" / name).exists()]
    if len(places) < SEVERAL:
        raise ValueError(f"install more of Debian's icon themes: {', '.join(THEMES)}")
    files: dict[str, dict[str, Path]] = {}
    for place in places:
        for name, path in files_of_theme(place).items():
            files.setdefault(name, {})[place.name] = path
    several = sorted(name for name in files if len(files[name]) >= SEVERAL)
    fewer = sorted(files.keys() - {*several})
    random.Random(0).shuffle(several)
    random.Random(1).shuffle(fewer)
    held, seen = round(HELD * len(several)), set[str]()
    parts = [("test", several[:held]), ("train", several[held:] + fewer[:others])]
    beside = folder.with_name(f"{folder.name}.part")
    with progress(sum(len(names) for _, names in parts), "drawing", "icons") as bar:
        for split, names in parts:
            for name in names:
                _draw_all(beside / split / name, files[name], seen)
                bar.update()
    beside.rename(folder)


def _draw_all(into: Path, files: dict[str, Path], seen: set[str]) -> None:
    """Draw one icon of every theme, with its transparency, but none that is damaged or was seen."""
    for theme, path in files.items():
        try:
            icon = ImageOps.contain(drawn_icon(path), (SIDE, SIDE))
        except (OSError, CalledProcessError):
            continue
        page = Image.new("RGBA", (SIDE, SIDE))
        page.paste(icon, ((SIDE - icon.width) // 2, (SIDE - icon.height) // 2))
        flat = Image.new("RGBA", page.size, "white")
        flat.alpha_composite(page)
        code = sha256(flat.tobytes()).hexdigest()
        if code not in seen:
            seen.add(code)
            into.mkdir(parents=True, exist_ok=True)
            page.save(into / f"{theme}.png")


def cut_photographs(folder: Path, *, train: int = 300, test: int = 60) -> None:
    """Write parts of color photographs that scikit-image and scikit-learn have; each is a class.

    Training images are from the left of a photograph, and test images from the right.

    Args:
        folder: Where they go, unless it is there already.
        train: Images of each to train on.
        test: Images of each to test on.

    Raises:
        ConfigError: If scikit-image is not installed.
    """
    if folder.exists():
        return
    rng = np.random.default_rng(0)
    learned = _package("sklearn") / "datasets/images"
    files = [_package("skimage") / "data" / name for name in PHOTOGRAPHS]
    for file in [*files, learned / "china.jpg", learned / "flower.jpg"]:
        image = _of_height(Image.open(file).convert("RGB"))
        for split, count in (("train", train), ("test", test)):
            place = folder / split / file.stem
            place.mkdir(parents=True)
            for number in range(count):
                box = _box(rng, image.size, (64, 128), left=split == "train")
                part = image.resize((SMALL, SMALL), Image.Resampling.BILINEAR, box=box)
                part.save(place / f"{number:04d}.png")


def mix_bands(folder: Path, *, train: int = 250, test: int = 60) -> None:
    """Write arrays of six bands, made from gray photographs of textures in scikit-image.

    A class is two textures, each with a spectrum of its own. Each image has its own light, and each
    of its bands a gain and noise.

    Args:
        folder: Where they go, unless it is there already.
        train: Images of each class to train on.
        test: Images of each class to test on.

    Raises:
        ConfigError: If scikit-image is not installed.
    """
    if folder.exists():
        return
    rng = np.random.default_rng(1)
    data = _package("skimage") / "data"
    textures = [_of_height(Image.open(data / f"{name}.png").convert("L")) for name in TEXTURES]
    usual = rng.uniform(0.2, 0.8, BANDS)
    for mixture in range(MIXTURES):
        two = rng.choice(len(textures), 2, replace=False)
        level = usual + rng.normal(0, 0.12, BANDS)
        spectra = rng.normal(0, 0.15, (2, BANDS))
        for split, count in (("train", train), ("test", test)):
            place = folder / split / f"mixture_{mixture:02d}"
            place.mkdir(parents=True)
            for number in range(count):
                bands = level
                for texture, spectrum in zip(two, spectra, strict=True):
                    seen = _seen(rng, textures[texture], left=split == "train")
                    bands = bands + seen[:, :, None] * spectrum
                gains = rng.uniform(0.6, 1.4) * rng.uniform(0.85, 1.15, BANDS)
                noisy = bands * gains + rng.normal(0, 0.03, (SMALL, SMALL, BANDS))
                np.save(place / f"{number:04d}.npy", (noisy.clip(0, 1) * 255).astype(np.uint8))


def _seen(
    rng: np.random.Generator, texture: Image.Image, *, left: bool
) -> Float[np.ndarray, "height width"]:
    """A part of a texture, of which the whole has mean 0 and standard deviation 1."""
    whole = np.asarray(texture, np.float64)
    box = _box(rng, texture.size, (48, 96), left=left)
    part = texture.resize((SMALL, SMALL), Image.Resampling.BILINEAR, box=box)
    return (np.asarray(part, np.float64) - whole.mean()) / whole.std()


def _package(name: str) -> Path:
    """Folder of an installed package."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        remedy = "pip install scikit-image"
        raise ConfigError(f"{name} is not installed, whose photographs these are: {remedy}")
    return Path(spec.origin).parent


def _of_height(image: Image.Image) -> Image.Image:
    share = HEIGHT / min(image.size)
    return image.resize((round(image.width * share), round(image.height * share)))


def _box(
    rng: np.random.Generator, size: tuple[int, int], sides: tuple[int, int], *, left: bool
) -> tuple[float, float, float, float]:
    """A random square within the left or the right part."""
    side = rng.uniform(*sides)
    low, high = (0.0, PART * size[0]) if left else (APART * size[0], float(size[0]))
    x, y = rng.uniform(low, high - side), rng.uniform(0, size[1] - side)
    return x, y, x + side, y + side
