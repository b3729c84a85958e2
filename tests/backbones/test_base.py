import pytest
import torch
from torch import nn

from ssl_dml.backbones import Backbone, Chunked, Embedder, PatchBackbone, TimmBackbone
from ssl_dml.types import ImageSpec

SPEC = ImageSpec.imagenet(32)
SMALL = {"name": "resnet18", "width": 0.125}


def embedder():
    return Embedder(SPEC, class_path="ssl_dml.backbones.TimmBackbone", init_args=SMALL, dim=8)


@pytest.mark.parametrize(
    "build",
    [
        lambda: TimmBackbone(SPEC, **SMALL),
        lambda: Chunked(TimmBackbone(SPEC, **SMALL), 2),
        lambda: PatchBackbone(SPEC, patch=16, stride=8, **SMALL),
        embedder,
    ],
)
def test_features_have_the_dimension_that_is_told(build):
    backbone = build()
    assert backbone.inputs == SPEC
    assert backbone(torch.zeros(3, 3, 32, 32)).shape == (3, backbone.feature_dim)


def test_a_backbone_without_forward_is_refused():
    class Unfinished(Backbone):
        pass

    assert issubclass(Unfinished, nn.Module)
    with pytest.raises(TypeError, match="abstract"):
        Unfinished()
