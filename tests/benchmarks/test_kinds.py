import numpy as np
import pytest
from benchmarks import domains, kinds
from benchmarks.kinds import BANDS, cut_photographs, draw_icons, mix_bands
from PIL import Image

from ssl_dml.data import DataConfig, load_test, load_train
from ssl_dml.types import ConfigError


@pytest.fixture
def themes(tmp_path, monkeypatch):
    """Three themes of ten icons each, of which ``same`` is one image, and one of a fourth name."""
    for number, theme in enumerate(("Tango", "breeze", "oxygen")):
        for name in [*(f"icon{n}" for n in range(9)), "same", *(["alone"] if not number else [])]:
            color = (0, 0, 0) if name == "same" else (number * 50, sum(name.encode()) % 200, 9)
            image = Image.new("RGBA", (48, 48))
            image.paste((*color, 255), (8, 8, 40, 40 - (0 if name == "same" else number)))
            path = tmp_path / "icons" / theme / "48x48" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    (tmp_path / "icons/Tango/48x48/damaged.png").write_bytes(b"PNG")
    for module in (domains, kinds):
        monkeypatch.setattr(module, "USR", tmp_path)
    return tmp_path


@pytest.mark.usefixtures("themes")
def test_icons_for_testing_have_other_names_than_those_to_train_on(tmp_path):
    draw_icons(tmp_path / "out", others=2)
    config = DataConfig(source=str(tmp_path / "out"), cache_dir=tmp_path / "cache")
    train = load_train(config)
    test = load_test(config, train)
    assert test is not None
    names = [{path.parent.name for path in (tmp_path / "out" / split).glob("*/*.png")}
             for split in ("train", "test")]  # fmt: skip
    assert not names[0] & names[1]
    assert (len(names[1]), len(names[0] | names[1])) == (3, 11)
    assert len(train) + len(test) == 9 * 3 + 1 + 1  # one image of "same"
    draw_icons(tmp_path / "out")  # is there already
    assert Image.open(next((tmp_path / "out").glob("*/*/*.png"))).mode == "RGBA"


def test_too_few_themes_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(kinds, "USR", tmp_path)
    with pytest.raises(ValueError, match="install more of Debian's icon themes: Adwaita, Numix"):
        draw_icons(tmp_path / "out")


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Gradients from black at the left to white at the right, in place of photographs."""
    ramp = np.broadcast_to(np.linspace(0, 255, 600, dtype=np.uint8), (520, 600))
    for name in kinds.TEXTURES:
        path = tmp_path / "skimage/data" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ramp).save(path)
    for name in kinds.PHOTOGRAPHS:
        Image.fromarray(ramp).convert("RGB").save(tmp_path / "skimage/data" / name)
    for name in ("china.jpg", "flower.jpg"):
        path = tmp_path / "sklearn/datasets/images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ramp).convert("RGB").save(path)
    monkeypatch.setattr(kinds, "_package", lambda name: tmp_path / name)


@pytest.mark.usefixtures("photographs")
def test_test_images_are_right_of_those_to_train_on(tmp_path):
    cut_photographs(tmp_path / "out", train=4, test=3)
    values = {
        split: [np.asarray(Image.open(path)) for path in (tmp_path / "out" / split).glob("*/*.png")]
        for split in ("train", "test")
    }
    assert len(values["train"]), len(values["test"]) == (40, 30)
    assert max(image.max() for image in values["train"]) <= 0.61 * 255
    assert min(image.min() for image in values["test"]) >= 0.64 * 255


@pytest.mark.usefixtures("photographs")
def test_bands_are_arrays_of_six_channels(tmp_path):
    mix_bands(tmp_path / "out", train=2, test=1)
    config = DataConfig(source=str(tmp_path / "out"), cache_dir=tmp_path / "cache")
    train = load_train(config)
    assert (len(train), train.spec.channels, len(train.class_names)) == (24, BANDS, 12)


def test_photographs_need_a_package():
    with pytest.raises(ConfigError, match="no_such_package is not installed"):
        kinds._package("no_such_package")
