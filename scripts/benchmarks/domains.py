"""Images of other domains than ImageNet, made from Debian packages: characters and icons."""

import random
import re
import shutil
import subprocess
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

from ssl_dml.progress import progress

Domain = Literal["characters", "icons"]
Drawn = dict[str, dict[str, Image.Image]]  # class, origin, image
SIDE = 64
USR = Path("/usr/share")
# Fonts that draw kanji differently, in print, by pen and by brush, and themes by different people.
FONTS = {
    "fonts-aoyagi-soseki": "fonts/truetype/aoyagi-soseki/aoyagi-soseki.ttf",
    "fonts-arphic-ukai": "fonts/truetype/arphic/ukai.ttc",
    "fonts-dotgothic16": "fonts/truetype/dotgothic16/DotGothic16-Regular.ttf",
    "fonts-ipafont-mincho": "fonts/opentype/ipafont-mincho/ipam.ttf",
    "fonts-kiloji": "fonts/truetype/kiloji/kiloji.ttf",
    "fonts-klee": "fonts/truetype/klee/KleeOne-Regular.ttf",
    "fonts-kouzan-mouhitsu": "fonts/truetype/kouzan-mouhitsu/kouzan-mouhitsu.ttf",
    "fonts-morisawa-bizud-gothic": "fonts/truetype/bizud-gothic/BIZUDGothic-Bold.ttf",
    "fonts-rampart": "fonts/truetype/rampart/RampartOne-Regular.ttf",
    "fonts-reggae": "fonts/truetype/reggae/ReggaeOne-Regular.ttf",
    "fonts-stick": "fonts/truetype/stick/Stick-Regular.ttf",
    "fonts-yusei-magic": "fonts/truetype/yusei-magic/YuseiMagic-Regular.ttf",
}
THEMES = {
    "breeze-icon-theme": "icons/breeze",
    "elementary-xfce-icon-theme": "icons/elementary-xfce",
    "faenza-icon-theme": "icons/Faenza",
    "gnome-icon-theme": "icons/gnome",
    "gnome-icon-theme-gartoon": "icons/gartoon",
    "gnome-icon-theme-nuovo": "icons/Nuovo",
    "gnome-icon-theme-yasis": "icons/yasis",
    "lxde-icon-theme": "icons/nuoveXT2",
    "moka-icon-theme": "icons/Moka",
    "numix-icon-theme-circle": "icons/Numix-Circle",
    "oxygen-icon-theme": "icons/oxygen",
    "papirus-icon-theme": "icons/Papirus",
    "suru-icon-theme": "icons/suru",
    "tango-icon-theme": "icons/Tango",
}
FEWEST = 4  # themes that draw an icon
PROGRAM = "rsvg-convert"


def draw(folder: Path, domain: Domain, *, classes: int = 600, choose: bool = False) -> None:
    """Write ``train/CLASS/ORIGIN.png`` and ``test/CLASS/ORIGIN.png`` of disjoint classes.

    A class is a character, drawn in several fonts, or the name of an icon, drawn by several
    themes. Three in ten classes are for testing.

    Args:
        folder: Where to write, unless it is there already.
        domain: Which images.
        classes: Number of classes, of training and test together.
        choose: Test on three in ten of the training classes instead, to choose settings by.

    Raises:
        ValueError: If a package is not installed.
    """
    if folder.exists():
        return
    drawn = {"characters": characters, "icons": icons}[domain](classes)
    train, test = sorted(drawn), list[str]()
    random.Random(0).shuffle(train)
    for _ in range(2 if choose else 1):
        held = round(0.3 * len(train))
        test, train = train[:held], train[held:]
    beside = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    for split, names in (("train", train), ("test", test)):
        for name in names:
            place = beside / split / name
            place.mkdir(parents=True)
            for origin, image in drawn[name].items():
                image.save(place / f"{origin}.png")
    beside.rename(folder)


def characters(count: int) -> Drawn:
    """Kanji that every font has, black on white, a few pixels off the middle.

    They are drawn from the 2,965 of level 1 of JIS X 0208.
    """
    places = _installed(FONTS)
    fonts = {package: ImageFont.truetype(str(path), size=50) for package, path in places.items()}
    lacking = {package: {_mask(font, "\ufffe"), b""} for package, font in fonts.items()}
    codes = [bytes([row, cell]) for row in range(0xB0, 0xD0) for cell in range(0xA1, 0xFF)]
    kanji = [code.decode("euc_jp", "ignore") for code in codes]
    random.Random(1).shuffle(kanji)
    found: Drawn = {}
    with progress(count, "drawing", "characters") as bar:
        for one in kanji:
            if len(found) == count:
                break
            if any(_mask(font, one) in lacking[package] for package, font in fonts.items()):
                continue
            found[f"{ord(one):x}"] = {p: _glyph(fonts[p], one, f"{p} {one}") for p in fonts}
            bar.update()
    return found


def icons(count: int) -> Drawn:
    """Icons that the most themes draw, on white; an image that was seen before is left out."""
    if shutil.which(PROGRAM) is None:
        raise ValueError(f"{PROGRAM} is not installed; try: apt-get install librsvg2-bin")
    files: dict[str, dict[str, Path]] = {}
    for package, place in _installed(THEMES).items():
        for name, path in files_of_theme(place).items():
            files.setdefault(name, {})[package] = path
    found: Drawn = {}
    seen: set[str] = set()
    with progress(count, "drawing", "icons") as bar:
        for name in sorted(files, key=lambda name: (-len(files[name]), name)):
            if len(found) == count or len(files[name]) < FEWEST:
                break
            images = {package: _flat(path) for package, path in files[name].items()}
            codes = {p: sha256(image.tobytes()).hexdigest() for p, image in images.items()}
            new = {p: image for p, image in images.items() if codes[p] not in seen}
            seen.update(codes.values())
            if len(new) >= FEWEST:
                found[name] = new
                bar.update()
    return found


def _installed(packages: dict[str, str]) -> dict[str, Path]:
    """Where the file or folder of each package is.

    Raises:
        ValueError: Naming all that are missing.
    """
    places = {package: USR / name for package, name in packages.items()}
    missing = [package for package, place in places.items() if not place.exists()]
    if missing:
        raise ValueError(f"not installed; try: apt-get install {' '.join(missing)}")
    return places


def _mask(font: ImageFont.FreeTypeFont, character: str) -> bytes:
    """How a font draws a character, as bytes; none where there is nothing."""
    image = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(image).text((0, 0), character, font=font, fill=255)
    return image.tobytes() if image.getbbox() else b""


def _glyph(font: ImageFont.FreeTypeFont, character: str, seed: str) -> Image.Image:
    rng = random.Random(seed)
    image = Image.new("L", (SIDE, SIDE), 255)
    place = (SIDE / 2 + rng.uniform(-4, 4), SIDE / 2 + rng.uniform(-4, 4))
    ImageDraw.Draw(image).text(place, character, font=font, fill=0, anchor="mm")
    return image


def files_of_theme(place: Path) -> dict[str, Path]:
    """The file of each name whose size is nearest; links to another name are left out."""
    best: dict[str, tuple[int, Path]] = {}
    for path in sorted(place.rglob("*.*")):
        inner = str(path.relative_to(place))
        if path.suffix not in (".png", ".svg") or path.is_symlink() or "symbolic" in inner:
            continue
        sizes = re.findall(r"(?:^|/)(\d+)(?:x\d+)?(?=/)", inner)
        away = abs(int(sizes[-1] if sizes else SIDE) - SIDE)
        if away <= SIDE // 2 and (path.stem not in best or away < best[path.stem][0]):
            best[path.stem] = away, path
    return {name: path for name, (_, path) in best.items()}


def _flat(path: Path) -> Image.Image:
    """An icon in the middle of a white square."""
    icon = ImageOps.contain(drawn_icon(path), (SIDE, SIDE))
    image = Image.new("RGBA", (SIDE, SIDE), "white")
    image.alpha_composite(icon, ((SIDE - icon.width) // 2, (SIDE - icon.height) // 2))
    return image.convert("RGB")


def drawn_icon(path: Path) -> Image.Image:
    """The image of an icon's file, with transparency; a drawing is as large as fits 64 pixels."""
    content = path.read_bytes()
    if path.suffix == ".svg":
        size = ("--width", str(SIDE), "--height", str(SIDE), "--keep-aspect-ratio")
        content = subprocess.run([PROGRAM, *size, path], capture_output=True, check=True).stdout
    return Image.open(BytesIO(content)).convert("RGBA")
