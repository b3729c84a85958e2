"""Views by the augmentation that a run's configuration names."""

import pytest
import torch
import yaml
from PIL import Image

from ssl_dml.backbones import TimmBackbone
from ssl_dml.commands.run_views import run_views
from ssl_dml.data import DataConfig, load_train
from ssl_dml.types import ConfigError

CPU = torch.device("cpu")
GRAY = {"class_path": "ssl_dml.augment.Gray", "init_args": {"crops": {"flip": 0.0}}}


@pytest.fixture
def samples(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(6):
        Image.new("L", (8, 8), 40 * i).save(tmp_path / f"images/{i}.png")
    return load_train(DataConfig(source=str(tmp_path / "images")))


def views(folder, samples, augment, *, trust=False):
    (folder / "config.yaml").write_text(yaml.safe_dump(augment))
    backbone = TimmBackbone(samples.spec, name="resnet18", width=0.125).eval()
    return run_views(folder, backbone, samples, device=CPU, trust=trust)


def test_they_are_the_same_each_time(tmp_path, samples):
    state = torch.get_rng_state()
    torch.manual_seed(3)
    found = views(tmp_path, samples, {"augment": GRAY})
    torch.manual_seed(3)
    assert found.shape == (6, 10, 64)
    assert torch.equal(found, views(tmp_path, samples, {"augment": GRAY}))
    assert (found[:, 0] != found[:, 1]).any()
    assert not found.requires_grad
    torch.set_rng_state(state)


@pytest.mark.parametrize(
    "values",
    [{}, {"augment": None}, {"augment": {"class_path": "os.system"}},
     {"augment": {"class_path": "strange.Views"}}],
)  # fmt: skip
def test_what_cannot_be_built_is_named(tmp_path, samples, values):
    with pytest.raises(ConfigError, match=r"config\.yaml names no augmentation that can be built"):
        views(tmp_path, samples, values)
