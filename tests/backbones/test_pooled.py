import pytest
import torch
from torch import nn

from ssl_dml.backbones import Backbone, Embedder, TimmBackbone
from ssl_dml.backbones.pooled import Pooled
from ssl_dml.types import ConfigError, ImageSpec

SPEC = ImageSpec.imagenet(32)
VIT = {"name": "vit_tiny_patch16_224", "options": {"embed_dim": 24, "depth": 2, "num_heads": 2}}


@pytest.fixture(scope="module")
def resnet():
    return TimmBackbone(SPEC, name="resnet18", width=0.125).eval()


@pytest.fixture(scope="module")
def vit():
    return TimmBackbone(SPEC, **VIT).eval()


@torch.no_grad()
def test_mean_is_what_a_resnet_does_itself(resnet):
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(Pooled(resnet, "mean")(images), resnet(images))


@torch.no_grad()
def test_generalized_mean_by_hand(resnet):
    images = torch.randn(2, 3, 32, 32)
    maps = resnet.network.forward_features(images)
    expected = [
        [float(c.clamp(min=1e-6).double().pow(3).mean()) ** (1 / 3) for c in m] for m in maps
    ]
    found = Pooled(resnet, "gem")(images)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-6)
    assert (found >= Pooled(resnet, "mean")(images) - 1e-6).all()


@torch.no_grad()
def test_class_token_and_mean_of_a_transformer(vit):
    images = torch.randn(2, 3, 32, 32)
    tokens = vit.network.forward_features(images)
    assert torch.equal(Pooled(vit, "cls")(images), tokens[:, 0])
    torch.testing.assert_close(Pooled(vit, "mean")(images), tokens[:, 1:].mean(1))


@torch.no_grad()
@pytest.mark.parametrize("layer", [0, 1, -1])
def test_a_layer_of_a_resnet_is_the_mean_of_its_map(resnet, layer):
    maps, images = [], torch.randn(2, 3, 32, 32)
    own = [resnet.network.act1, *(getattr(resnet.network, f"layer{i}") for i in range(1, 5))]
    hook = own[layer].register_forward_hook(lambda *given: maps.append(given[2]))
    found = Pooled(resnet, f"layer:{layer}")(images)
    hook.remove()
    torch.testing.assert_close(found, maps[-1].mean((2, 3)))


@torch.no_grad()
def test_a_layer_of_a_transformer_and_a_map_with_channels_last(vit):
    images = torch.randn(2, 3, 32, 32)
    assert Pooled(vit, "layer:-1").feature_dim == Pooled(vit, "layer:1")(images).shape[1] == 24
    swin = TimmBackbone(ImageSpec.imagenet(64), name="swin_tiny_patch4_window7_224").eval()
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(Pooled(swin, "mean")(images), swin(images), rtol=1e-4, atol=1e-5)


def test_a_neck_is_left_out_and_the_mode_stays():
    init_args = {"name": "resnet18", "width": 0.125}
    embedder = Embedder(
        SPEC, class_path="ssl_dml.backbones.TimmBackbone", init_args=init_args, dim=5
    )
    embedder.train()
    assert Pooled(embedder, "gem").feature_dim == 64
    assert embedder.backbone.training


class Own(Backbone):
    def __init__(self):
        super().__init__()
        self.inputs, self.feature_dim, self.layer = SPEC, 3, nn.Linear(3, 3)

    def forward(self, samples):
        return self.layer(samples.mean((2, 3)))


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ("max", "pool must be mean, cls, gem or layer:N, got 'max'"),
        ("cls", "'cls' is for transformers with a class token, and resnet18 has none"),
        ("layer:5", "'layer:5': resnet18 has layers 0 to 4; choose one"),
        ("layer:x", "pool must be"),
    ],
)
def test_what_a_network_does_not_have_is_named(resnet, pool, words):
    with pytest.raises(ConfigError, match=words):
        Pooled(resnet, pool)


def test_another_network_is_refused():
    with pytest.raises(ConfigError, match="is for networks of timm, and this is Own; leave it out"):
        Pooled(Own(), "gem")
