"""Networks of timm and the sizes of images."""

import pytest
import torch

from ssl_dml.backbones import TimmBackbone
from ssl_dml.backbones.building import build
from ssl_dml.types import ImageSpec

PATH = "ssl_dml.backbones.TimmBackbone"
SMALL = {  # options that make them small
    "vit_small_patch14_dinov2": {"depth": 1, "embed_dim": 48, "num_heads": 2},
    "swin_tiny_patch4_window7_224": {"depths": [1, 1], "embed_dim": 24, "num_heads": [2, 2]},
    "beit_base_patch16_224": {"depth": 1, "embed_dim": 48, "num_heads": 2},
    "mixer_s32_224": {},
    "deit_tiny_patch16_224": {"depth": 1, "embed_dim": 48, "num_heads": 2},
    "test_convnext": {},
    "test_efficientnet": {},
    "test_maxvit": {},
}


@pytest.mark.parametrize("size", [56, 64])
@pytest.mark.parametrize("name", SMALL)
def test_families_take_the_size_or_name_sizes_that_work(name, size):
    arguments = {"name": name, "options": SMALL[name]}
    spec = ImageSpec.imagenet(size)
    try:
        backbone = build(PATH, arguments, spec).eval()
    except ValueError as error:
        words = str(error)
        assert "\n" not in words
        assert name in words or "samples of shape" in words
        sizes = words.partition("; data.image_size ")[2].removesuffix(" would do")
        assert sizes, words
        for other in map(int, sizes.split(", ")):
            build(PATH, arguments, ImageSpec.imagenet(other))
        assert name == "test_maxvit"
    else:
        for view in (size, 48):  # crops are views of other sizes
            assert backbone(torch.zeros(2, 3, view, view)).shape == (2, backbone.feature_dim)


def test_views_of_another_size_are_resized_for_a_network_of_a_fixed_size():
    backbone = build(PATH, {"name": "mixer_s32_224", "options": SMALL["mixer_s32_224"]},
                     ImageSpec.imagenet(64)).eval()  # fmt: skip
    views = torch.rand(2, 3, 32, 32)
    large = torch.nn.functional.interpolate(views, (64, 64), mode="bilinear", antialias=True)
    assert torch.equal(backbone(views), backbone(large))
    assert not torch.allclose(backbone(views), backbone(torch.rand(2, 3, 64, 64)))


def test_positions_are_built_for_whole_patches():
    arguments = {"name": "vit_small_patch14_dinov2", "options": SMALL["vit_small_patch14_dinov2"]}
    network = TimmBackbone(ImageSpec.imagenet(64), **arguments).network
    assert network.patch_embed.img_size == (70, 70)


def test_a_size_that_a_family_refuses():
    words = r"backbone: xcit_nano_12_p16_224 cannot be built for images of 56 pixels: .*"
    with pytest.raises(ValueError, match=words + r"; data\.image_size 32, 48, 64 would do$"):
        TimmBackbone(ImageSpec.imagenet(56), name="xcit_nano_12_p16_224")
