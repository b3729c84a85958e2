"""Where an embedding model starts from."""

import pytest
import torch

from ssl_dml.backbones import SequenceBackbone, TimmBackbone, initial, save
from ssl_dml.types import ConfigError, SequenceSpec

PATH = "ssl_dml.backbones.TimmBackbone"
RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


def test_a_saved_backbone_brings_its_network_its_samples_and_its_weights(gray, tmp_path):
    saved = TimmBackbone(gray, **RESNET)
    save(saved, tmp_path / "backbone", PATH, RESNET, trained={})
    begin = initial(tmp_path / "backbone", "another.Network", {"name": "other"})
    assert (begin.class_path, begin.init_args, begin.inputs) == (PATH, RESNET, gray)
    embedder = begin.build(gray, neck="linear", dim=8)
    for name, value in embedder.backbone.state_dict().items():
        assert torch.equal(value, saved.state_dict()[name])
    assert embedder.feature_dim == 8


def test_without_weights_it_is_the_configured_network(gray):
    begin = initial(None, PATH, RESNET)
    assert begin.inputs is None
    assert begin.build(gray, neck="none", dim=None).feature_dim == 64
    assert begin.arguments(neck="none", dim=None)["class_path"] == PATH


def test_a_file_of_weights_is_for_networks_of_timm(tmp_path):
    spec = SequenceSpec(channels=1, length=640, mean=(0.0,), std=(1.0,))
    (tmp_path / "weights.pth").touch()
    path = f"{SequenceBackbone.__module__}.SequenceBackbone"
    begin = initial(tmp_path / "weights.pth", path, {"width": 8, "context_dim": 8})
    with pytest.raises(ConfigError, match=r"weights\.pth' is a file, which is for a network of"):
        begin.build(spec, neck="none", dim=None)


def test_what_is_not_there_and_what_does_not_fit_are_named(gray, tmp_path):
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        initial(tmp_path / "nothing", PATH, RESNET)
    with pytest.raises(ConfigError, match="embedding_dim must be null or the 64 of the backbone"):
        initial(None, PATH, RESNET).build(gray, neck="batch_norm", dim=3)
