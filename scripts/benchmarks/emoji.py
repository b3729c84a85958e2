"""A color set: emoji of several vendors, by their group."""

import json
from hashlib import sha256
from pathlib import Path

from PIL import Image

SIDE, TEST = 32, 0.3
GROUPS = {
    "Activities", "Animals & Nature", "Flags", "Food & Drink", "Objects", "People & Body",
    "Smileys & Emotion", "Symbols", "Travel & Places",
}  # fmt: skip


def draw_emoji(folder: Path, packages: list[Path]) -> None:
    """Write ``train/GROUP/EMOJI_VENDOR.png`` and ``test/...``, of disjoint emoji.

    Args:
        folder: Where the images go, with 32 pixels a side on white.
        packages: Unpacked npm packages ``emoji-datasource-VENDOR``, one a vendor.
    """
    for package in packages:
        listed = json.loads((package / "emoji.json").read_text())
        (images,) = package.glob("img/*/64")
        vendor = images.parent.name
        for one in listed:
            path = images / one["image"]
            if one["category"] not in GROUPS or not path.exists():
                continue
            share = int(sha256(one["unified"].encode()).hexdigest()[:8], 16) / 16**8
            split = "test" if share < TEST else "train"
            group = one["category"].split()[0].lower()
            into = folder / split / group / f"{one['unified']}_{vendor}.png"
            into.parent.mkdir(parents=True, exist_ok=True)
            _on_white(path).save(into)


def _on_white(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        drawn = opened.convert("RGBA")
    page = Image.new("RGBA", drawn.size, "white")
    page.alpha_composite(drawn)
    return page.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
