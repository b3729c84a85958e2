import pytest
from benchmarks import domains
from benchmarks.domains import _flat, characters, draw, files_of_theme, icons
from PIL import Image, ImageFont

FONT = "fonts/truetype/dejavu/DejaVuSans.ttf"


@pytest.fixture
def themes(tmp_path, monkeypatch):
    """Four themes of three icons, one of which is the same image in two of them."""
    for number in range(4):
        for name, color in (("a", "red"), ("b", "green"), ("c", "blue")):
            place = tmp_path / f"theme{number}" / "48x48" / f"{name}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            same = name == "c" and number == 1
            size = 40 if same else 40 + number
            Image.new("RGB", (size, size - (0 if same else number)), color).save(place)
    packages = {f"package{n}": f"theme{n}" for n in range(4)}
    monkeypatch.setattr(domains, "USR", tmp_path)
    monkeypatch.setattr(domains, "THEMES", packages)
    monkeypatch.setattr(domains, "PROGRAM", "true")
    return tmp_path


def test_an_icon_is_drawn_by_at_least_four_themes_and_no_image_twice(themes):
    found = icons(10)
    assert {name: len(images) for name, images in found.items()} == {"a": 4, "b": 4, "c": 4}
    monkey = themes / "theme1" / "48x48"
    (monkey / "b.png").write_bytes((monkey / "a.png").read_bytes())
    assert set(icons(10)) == {"a", "c"}  # b has three of its own


def test_links_and_sizes_far_away_are_left_out(themes):
    place = themes / "theme0"
    (place / "48x48" / "link.png").symlink_to(place / "48x48" / "a.png")
    for size in ("8x8", "64", "256x256"):
        (place / size).mkdir()
        Image.new("RGB", (8, 8)).save(place / size / "a.png")
    found = files_of_theme(place)
    assert set(found) == {"a", "b", "c"}
    assert found["a"] == place / "64" / "a.png"


def test_icons_stand_in_the_middle_of_white(tmp_path):
    path = tmp_path / "wide.png"
    Image.new("RGBA", (64, 32), (255, 0, 0, 255)).save(path)
    image = _flat(path)
    assert image.size == (64, 64)
    assert image.getpixel((32, 32)) == (255, 0, 0)
    assert image.getpixel((32, 4)) == (255, 255, 255)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(domains, "USR", tmp_path)
    with pytest.raises(ValueError, match="try: apt-get install fonts-aoyagi-soseki fonts-arphic"):
        characters(2)


def test_characters_that_a_font_lacks_are_not_drawn(monkeypatch):
    place = domains.USR / FONT
    if not place.exists():
        pytest.skip("needs fonts-dejavu-core")
    monkeypatch.setattr(domains, "FONTS", {"fonts-dejavu-core": FONT})
    assert characters(3) == {}  # this one has no kanji
    font = ImageFont.truetype(str(place), size=50)
    assert domains._mask(font, "A") != domains._mask(font, "B")


@pytest.mark.parametrize("choose", [False, True])
def test_classes_of_test_are_others_and_settings_are_chosen_on_training_classes(
    tmp_path, monkeypatch, choose
):
    images = {f"c{n}": {"x": Image.new("L", (4, 4), n)} for n in range(10)}
    monkeypatch.setattr(domains, "characters", lambda _: images)
    draw(tmp_path / "whole", "characters")
    draw(tmp_path / "made", "characters", choose=choose)
    splits = [
        {path.name for path in (tmp_path / folder / split).iterdir()}
        for folder, split in (("whole", "test"), ("made", "train"), ("made", "test"))
    ]
    test, train, held = splits
    assert len(test) == 3
    assert not train & (held | test)
    assert (len(train), len(held)) == ((5, 2) if choose else (7, 3))
    assert (held & test == set()) if choose else (held == test)
