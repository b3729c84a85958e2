"""What an audit finds of copies that were planted among images."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from ssl_dml.data import DataConfig, load_train
from ssl_dml.data.images import is_image
from ssl_dml.evaluation.audit import thumbnails_of
from ssl_dml.evaluation.candidates import candidates, reduced
from ssl_dml.evaluation.duplicates import near_duplicates
from ssl_dml.types import Images

EMOJI = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # of fonts-noto-color-emoji
SIDE = 64  # pixels of an image of the colored sets
VARIED = 0.06  # least standard deviation of a part of a photograph, of values up to 1
Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def encoded(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Through a JPEG file of quality 75."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=75)
    return Image.open(file).convert(image.mode)


def resized(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Down to three fifths of its side, and up again."""
    small = image.resize((3 * image.width // 5, 3 * image.height // 5), Image.Resampling.BICUBIC)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A part of 80% of its side, anywhere, enlarged."""
    x, y = (rng.uniform(0, 0.2) * side for side in image.size)
    box = (x, y, x + 0.8 * image.width, y + 0.8 * image.height)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def turned(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """By 5 degrees either way; the corners are black."""
    return image.rotate(5 * int(rng.choice([-1, 1])), Image.Resampling.BICUBIC)


CHANGES: dict[str, Change] = {
    "encoded": encoded,
    "resized": resized,
    "cropped": cropped,
    "turned": turned,
    "brightened": lambda image, _: ImageEnhance.Brightness(image).enhance(1.3),
    "mirrored": lambda image, _: ImageOps.mirror(image),
}


class Planted(NamedTuple):
    """Images and changed copies of some of them.

    Attributes:
        images: As an audit sees them, the copies last.
        pairs: Row of an original and of its copy, and the change.
    """

    images: Images
    pairs: dict[tuple[int, int], str]


def planted(originals: Sequence[Image.Image], *, size: int, each: int, seed: int) -> Planted:
    """Plant copies of different images, ``each`` for each change, all stored with side ``size``."""
    rng = np.random.default_rng(seed)
    chosen = iter(rng.permutation(len(originals)).tolist())
    every, pairs = list(originals), dict[tuple[int, int], str]()
    for name, change in CHANGES.items():
        for _ in range(each):
            row = next(chosen)
            pairs[row, len(every)] = name
            every.append(change(originals[row], rng))
    small = [one.resize((size, size), Image.Resampling.BOX) for one in every]
    pixels = np.stack([np.atleast_3d(np.asarray(one)) for one in small])
    return Planted(thumbnails_of(torch.from_numpy(pixels).movedim(3, 1).float() / 255), pairs)


def sample_images(source: str) -> list[Image.Image]:
    """The training images of an embedded sample, each different one once."""
    train = load_train(DataConfig(source=source))
    rows = np.unique(train.digests, return_index=True)[1]
    pixels = torch.cat([train[part][0] for part in torch.from_numpy(rows).split(1024)])
    return [Image.fromarray(one) for one in pixels[:, 0].byte().numpy()]


def emoji_images() -> list[Image.Image]:
    """What the font of emoji draws, on white; each different image once."""
    font, found = ImageFont.truetype(str(EMOJI), 109), dict[bytes, Image.Image]()
    for code in (*range(0x2190, 0x3300), *range(0x1F000, 0x1FB00)):
        image = Image.new("RGB", (136, 136), "white")
        ImageDraw.Draw(image).text((0, 4), chr(code), font=font, embedded_color=True)
        found.setdefault(image.tobytes(), image)
    return list(found.values())


def photo_images(folder: Path) -> list[Image.Image]:
    """Parts of all photographs of a folder."""
    return [part for path in sorted(filter(is_image, folder.iterdir())) for part in parts(path)]


def parts(path: Path) -> list[Image.Image]:
    """Parts of a photograph, of half its size if large, that do not overlap; none is smooth."""
    image, found = Image.open(path).convert("RGB"), list[Image.Image]()
    if image.width > 1000:
        image = image.reduce(2)
    for y in range(0, image.height - SIDE + 1, SIDE):
        for x in range(0, image.width - SIDE + 1, SIDE):
            part = image.crop((x, y, x + SIDE, y + SIDE))
            if np.asarray(part.convert("L")).std() / 255 >= VARIED:
                found.append(part)
    return found


def audit_table(
    *,
    sets: Sequence[str] = ("fashion_mini", "hangul"),
    photos: Path | None = None,
    images: int = 3000,
    each: int = 25,
    seeds: Sequence[int] = (0, 1, 2),
    sheet: Path | None = None,
) -> list[dict[str, Any]]:
    """Plant changed copies among images, and print what the audit finds of them.

    Args:
        sets: Embedded samples, or ``emoji`` for those of the Debian package
            fonts-noto-color-emoji.
        photos: Folder of photographs, whose parts are one more set.
        images: Originals of a set, if it has so many.
        each: Copies that are planted for each of the six changes.
        seeds: Each draws originals, and changes of random places, anew.
        sheet: PNG to write for each set and seed, with the pairs that are listed but not planted.

    Returns:
        Of each set and seed the recall of candidates and of what is listed, also by change, the
        precision, and the pairs that are listed but were not planted.
    """
    found = list[dict[str, Any]]()
    for name in [*sets, *([] if photos is None else ["photos"])]:
        every = opened(name, photos)
        size = every[0].width if every[0].mode == "L" else SIDE
        for seed in seeds:
            order = np.random.default_rng(1000 + seed).permutation(len(every))[:images]
            case = planted([every[i] for i in order], size=size, each=each, seed=seed)
            result = measured(case)
            if sheet is not None:
                _draw(case.images, result["others"], sheet.with_stem(f"{sheet.stem}_{name}_{seed}"))
            missed = {k: round(v, 2) for k, v in result["changes"].items() if v < 1}
            print(
                f"{name:12} {len(order):,} images, seed {seed}: candidates "
                f"{result['candidates']:.1%}, recall {result['recall']:.1%}, precision "
                f"{result['precision']:.1%}, not planted {len(result['others'])}; found {missed}",
                flush=True,
            )
            found.append({"set": name, "seed": seed, **result})
    return found


def opened(name: str, photos: Path | None) -> list[Image.Image]:
    """The images of a set."""
    if name == "photos" and photos is not None:
        return photo_images(photos)
    return emoji_images() if name == "emoji" else sample_images(name)


def _draw(images: Images, pairs: Sequence[tuple[int, int]], path: Path) -> None:
    shown = [torch.cat([images[a], images[b]], dim=2).expand(3, -1, -1) for a, b in pairs[:60]]
    blank = [torch.zeros(3, images.shape[2], 2 * images.shape[3])] * (-len(shown) % 10)
    if cells := [*shown, *blank]:
        lines = [torch.cat(cells[i : i + 10], dim=2) for i in range(0, len(cells), 10)]
        pixels = (torch.cat(lines, dim=1) * 255).byte().movedim(0, 2).numpy()
        Image.fromarray(pixels).save(path)


def measured(case: Planted) -> dict[str, Any]:
    """Recall of the candidates and of what is confirmed, by change, and the precision."""
    pairs = candidates(reduced(case.images)).pairs
    proposed = set(map(tuple, pairs.sort(dim=1).values.tolist()))
    found = near_duplicates(case.images)
    listed = set(map(tuple, found.pairs.tolist()))
    right = listed & set(case.pairs)
    changes = {
        name: sum(pair in listed for pair, own in case.pairs.items() if own == name)
        / sum(own == name for own in case.pairs.values())
        for name in CHANGES
    }
    return {
        "changes": changes,
        "candidates": len(proposed & set(case.pairs)) / len(case.pairs),
        "recall": len(right) / len(case.pairs),
        "precision": len(right) / max(1, len(listed)),
        "others": sorted(listed - right),
    }
