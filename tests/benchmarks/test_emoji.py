import json

from benchmarks import draw_emoji
from PIL import Image


def test_emoji_of_all_vendors_fall_on_one_side_of_the_split(tmp_path):
    packages = []
    for vendor in ("one", "other"):
        images = tmp_path / vendor / "img" / vendor / "64"
        images.mkdir(parents=True)
        listed = []
        for number in range(60):
            name = f"{number:04x}"
            Image.new("RGBA", (64, 64), (255, 0, 0, 0 if number else 255)).save(
                images / f"{name}.png"
            )
            group = ("Food & Drink", "Flags", "Component")[number % 3]
            listed.append({"unified": name, "image": f"{name}.png", "category": group})
        listed.append({"unified": "none", "image": "none.png", "category": "Flags"})
        (tmp_path / vendor / "emoji.json").write_text(json.dumps(listed))
        packages.append(tmp_path / vendor)
    draw_emoji(tmp_path / "set", packages)
    found = {split: {*(tmp_path / "set" / split).glob("*/*.png")} for split in ("train", "test")}
    names = {split: {path.stem[:4] for path in paths} for split, paths in found.items()}
    assert not names["train"] & names["test"]
    assert len(names["train"] | names["test"]) == 40
    assert 4 < len(names["test"]) < 20
    assert sum(map(len, found.values())) == 80
    assert {path.parent.name for path in found["train"]} == {"food", "flags"}
    first = next(p for paths in found.values() for p in paths if p.stem == "0000_one")
    with Image.open(first) as image:
        assert (image.size, image.mode) == ((32, 32), "RGB")
        assert image.getpixel((0, 0)) == (255, 0, 0)
    clear = next(p for paths in found.values() for p in paths if p.stem == "0001_one")
    with Image.open(clear) as image:
        assert image.getpixel((0, 0)) == (255, 255, 255)
