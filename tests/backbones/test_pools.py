import pytest
import torch

from ssl_dml.backbones import Embedder, TimmBackbone
from ssl_dml.backbones.pooled import Pooled
from ssl_dml.backbones.pools import Pools
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec

SPEC = ImageSpec.imagenet(32)
CLASS = "ssl_dml.backbones.TimmBackbone"
VIT = {"name": "vit_tiny_patch16_224", "options": {"embed_dim": 24, "depth": 2, "num_heads": 2}}
RESNET = {"name": "resnet18", "width": 0.125}


@pytest.mark.parametrize("arguments", [VIT, RESNET, {"name": "convnext_atto"}])
@pytest.mark.parametrize("neck", [False, True])
@torch.no_grad()
def test_each_is_that_of_a_pass_of_its_own(arguments, neck):
    network = (Embedder(SPEC, class_path=CLASS, init_args=arguments, dim=5) if neck
               else TimmBackbone(SPEC, **arguments))  # fmt: skip
    pools, images = Pools(network.eval()), torch.randn(3, 3, 32, 32)
    parts = pools(images).split(list(pools.dims.values()), dim=1)
    for name, part in zip(pools.dims, parts, strict=True):
        expected = network if name == "trained" else Pooled(network, name)
        torch.testing.assert_close(part, expected(images), rtol=1e-4, atol=1e-5)
    assert ("cls" in pools.dims) == (arguments is VIT)
    assert pools.feature_dim == sum(pools.dims.values())


@torch.no_grad()
def test_it_is_one_pass():
    network = TimmBackbone(SPEC, **RESNET).eval()
    pools, calls = Pools(network), []
    network.network.conv1.register_forward_hook(lambda *_: calls.append(1))
    pools(torch.zeros(1, 3, 32, 32))
    assert len(calls) == 1


def test_other_networks_are_refused():
    from ssl_dml.backbones import SequenceBackbone

    spec = SequenceSpec(channels=1, length=4000, mean=(0.0,), std=(1.0,), sampling_rate=8000)
    with pytest.raises(ConfigError, match="is for networks of timm"):
        Pools(SequenceBackbone(spec))
