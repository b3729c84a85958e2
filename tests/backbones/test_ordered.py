"""Files of torchvision in timm's networks: features agree, or the file is refused."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from ssl_dml.backbones.weights import fit_weights

# The last layer of each classifier, which is left, and how its input is had.
PAIRS = [
    ("mobilenet_v2", "mobilenetv2_100", {}),
    ("mobilenet_v3_small", "mobilenetv3_small_100", {"bn_eps": 0.001}),
    ("mnasnet0_5", "mnasnet_050", {}),
    ("efficientnet_b0", "efficientnet_b0", {}),
    ("resnet18", "resnet18", {}),
    ("convnext_tiny", "convnext_tiny", {}),
    pytest.param("vit_b_32", "vit_base_patch32_224", {}, marks=pytest.mark.slow),
    ("regnet_y_400mf", "regnety_004", {}),
]


def randomized(network):
    """Weights of which no two are alike, and whose features stay of the order of one."""
    for value in network.state_dict().values():
        if value.ndim == 1 and value.is_floating_point():
            value.add_(0.1 * torch.rand_like(value))
    return network.eval()


def without_classifier(network):
    """Replace the last linear layer by nothing."""
    name, _ = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
    return network


@pytest.mark.parametrize(("theirs", "ours", "options"), PAIRS)
@torch.no_grad()
def test_features_are_those_of_torchvision(theirs, ours, options):
    given = randomized(torchvision.models.get_model(theirs))
    arguments = {"model_name": ours, "num_classes": 0, **options}
    network = timm.create_model(**arguments).eval()
    fitted = fit_weights(given.state_dict(), network, arguments)
    network.load_state_dict(fitted.state)
    images = torch.randn(2, 3, 224, 224)
    torch.testing.assert_close(
        network(images), without_classifier(given)(images), rtol=1e-3, atol=1e-4
    )


def crossed(state):
    """Names of another library in which the first convolution of a block is called the second."""
    swap = {"conv1": "conv2", "conv2": "conv1"}
    words = {name: name.replace("layer", "stage").split(".") for name in state}
    return {
        ".".join(swap.get(w, w) if len(words[n]) > len(swap) else "stem" if w == "conv1" else w
                 for w in words[n]): value
        for n, value in state.items()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change"),
    [
        # The padding of torchvision is even, that of these networks is TensorFlow's.
        ("tf_efficientnet_b0", lambda: torchvision.models.efficientnet_b0().state_dict()),
        # Names of the port from TensorFlow, and a network that pads evenly.
        (
            "efficientnet_b0",
            lambda: {
                "_conv_stem.weight" if n == "conv_stem.weight" else f"_{n}": v
                for n, v in timm.create_model("tf_efficientnet_b0").state_dict().items()
            },
        ),
        # conv1 and conv2 have one shape, and the file registers them the other way round.
        (
            "resnet18",
            lambda: crossed(timm.create_model("resnet18").state_dict()),
        ),
    ],
)  # fmt: skip
def test_equal_shapes_of_another_network_are_refused(name, change):
    arguments = {"model_name": name, "num_classes": 0}
    with pytest.raises(ValueError, match=r"tensors found, .* missing"):
        fit_weights(change(), timm.create_model(**arguments), arguments)
