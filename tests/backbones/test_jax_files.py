"""Original JAX checkpoints of vision transformers fill timm's networks, or are refused."""

import numpy as np
import pytest
import timm
import torch

from ssl_dml.backbones import initial
from ssl_dml.types import ConfigError, ImageSpec

PATH = "ssl_dml.backbones.TimmBackbone"
VIT = {"name": "vit_tiny_patch16_224", "options": {"depth": 2}}
SPEC = ImageSpec.imagenet(32)
HEADS = 3


def drawn():
    """A state of timm's network with drawn values."""
    generator = torch.Generator().manual_seed(3)
    network = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=32, num_classes=0)
    return {
        name: torch.randn(value.shape, generator=generator)
        for name, value in network.state_dict().items()
    }


def as_jax(state, depth=2):
    """The arrays that the authors' code would have written for the state."""
    dim = state["norm.weight"].numel()
    patches = state["patch_embed.proj.weight"].permute(2, 3, 1, 0)
    arrays = {
        "cls": state["cls_token"],
        "embedding/kernel": patches, "embedding/bias": state["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": torch.ones(dim, 5), "head/bias": torch.ones(5),
    }  # fmt: skip
    for i in range(depth):
        own, to = f"blocks.{i % 2}.", f"Transformer/encoderblock_{i}/"
        attention = to + "MultiHeadDotProductAttention_1/"
        weights = state[own + "attn.qkv.weight"].chunk(3)
        biases = state[own + "attn.qkv.bias"].chunk(3)
        for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            arrays[f"{attention}{name}/kernel"] = weight.T.reshape(dim, HEADS, -1)
            arrays[f"{attention}{name}/bias"] = bias.reshape(HEADS, -1)
        out = state[own + "attn.proj.weight"].T.reshape(HEADS, -1, dim)
        arrays[attention + "out/kernel"] = out
        arrays[attention + "out/bias"] = state[own + "attn.proj.bias"]
        for norm, number in (("norm1", 0), ("norm2", 2)):
            arrays[f"{to}LayerNorm_{number}/scale"] = state[f"{own}{norm}.weight"]
            arrays[f"{to}LayerNorm_{number}/bias"] = state[f"{own}{norm}.bias"]
        for r in range(2):
            arrays[f"{to}MlpBlock_3/Dense_{r}/kernel"] = state[f"{own}mlp.fc{r + 1}.weight"].T
            arrays[f"{to}MlpBlock_3/Dense_{r}/bias"] = state[f"{own}mlp.fc{r + 1}.bias"]
    return {name: value.numpy() for name, value in arrays.items()}


@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_every_tensor_is_that_of_the_file(tmp_path, prefix):
    state = drawn()
    arrays = {prefix + name: value for name, value in as_jax(state).items()}
    np.savez(tmp_path / "vit.npz", allow_pickle=False, **arrays)
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = initial(tmp_path / "vit.npz", PATH, VIT).backbone(SPEC)
        for name, value in network.state_dict().items():
            assert torch.equal(value, state[name.removeprefix("network.")]), name


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("vit_tiny_patch16_224", {"depth": 1}, "with 2 blocks, and the network has 1; set name"),
        ("vit_tiny_patch16_224", {"depth": 3}, "which timm cannot load into this network"),
        ("resnet18", None, "which timm cannot load into this network"),
    ],
)
def test_another_network_is_one_line(tmp_path, name, options, words):
    np.savez(tmp_path / "vit.npz", allow_pickle=False, **as_jax(drawn()))
    with pytest.raises(ConfigError, match=rf"does not fit {name} .*: it is .* JAX .*{words}") as e:
        initial(tmp_path / "vit.npz", PATH, {"name": name, "options": options}).backbone(SPEC)
    assert "\n" not in str(e.value)
