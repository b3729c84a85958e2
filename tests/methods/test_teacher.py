import pytest
import torch
from torch.testing import assert_close

from ssl_dml.backbones import TimmBackbone, save
from ssl_dml.methods.teacher import Teacher
from ssl_dml.precision import unit_rows
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec

OURS = ImageSpec(channels=3, size=16, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
THEIRS = ImageSpec.imagenet(16)
ARGUMENTS = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


@pytest.fixture
def network():
    network = TimmBackbone(THEIRS, **ARGUMENTS)
    network(torch.randn(8, 3, 16, 16))  # statistics that are not those of the beginning
    return network.eval()


@pytest.fixture
def folder(network, tmp_path):
    save(network, tmp_path / "t", "ssl_dml.backbones.TimmBackbone", ARGUMENTS, trained={})
    return str(tmp_path / "t")


def test_it_sees_views_in_its_own_normalization(network, folder):
    pixels = torch.rand(4, 3, 16, 16)

    def normalized(spec):
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (spec.mean, spec.std))
        return (pixels - mean) / std

    found = Teacher(folder, OURS)(normalized(OURS))
    assert_close(found, unit_rows(network(normalized(THEIRS))), rtol=1e-4, atol=1e-5)
    assert_close(found.norm(dim=1), torch.ones(4))


def test_it_never_learns(folder):
    teacher = Teacher(folder, OURS)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    teacher.train()
    found = teacher(torch.randn(4, 3, 16, 16))
    assert not found.requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_a_teacher_of_other_samples_is_named(folder, tmp_path):
    gray = ImageSpec(channels=1, size=16, mean=(0.1,), std=(0.5,))
    with pytest.raises(ConfigError, match=r"is for images of 3 channels, and the data are images"):
        Teacher(folder, gray)
    audio = SequenceSpec(channels=3, length=9, mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(ConfigError, match="and the data are sequences of 3 channels"):
        Teacher(folder, audio)
    with pytest.raises(ValueError, match=r"nowhere is no saved backbone"):
        Teacher(str(tmp_path / "nowhere"), OURS)
