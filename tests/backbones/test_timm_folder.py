"""Which networks timm loads again; a plain one is tested in test_export.py."""

import pytest
import timm
import torch

from ssl_dml.backbones import Embedder, TimmBackbone
from ssl_dml.backbones.timm_folder import write_timm_folder
from ssl_dml.types import ConfigError

RESNET = {"name": "resnet18", "options": {"layers": [1, 1, 1, 1]}}
NETWORK = "ssl_dml.backbones.TimmBackbone"


def test_a_linear_neck_becomes_the_classifier(color, tmp_path):
    inner = {**RESNET, "stem": "standard"}
    backbone = Embedder(color, class_path=NETWORK, init_args=inner, neck="linear", dim=5).eval()
    assert write_timm_folder(backbone, tmp_path) < 1e-4
    network = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    given = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network(given), backbone(given))


def test_what_is_not_timms_own_is_refused(color, tmp_path):
    with pytest.raises(ConfigError, match=r"is not timm's own \(its stem for small images\)"):
        write_timm_folder(TimmBackbone(color, **RESNET), tmp_path)
    neck = {"class_path": NETWORK, "init_args": RESNET, "neck": "linear_batch_norm", "dim": 5}
    with pytest.raises(ConfigError, match="a neck with batch norm is none of timm's"):
        write_timm_folder(Embedder(color, **neck), tmp_path)
