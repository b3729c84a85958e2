"""Image backbones from timm, with a stem for small images and a width factor."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

import timm
import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.models import group_parameters
from timm.models.resnet import ResNet
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.files import read_file
from ssl_dml.backbones.sizes import advice, create, size_arguments
from ssl_dml.backbones.weights import fit_weights
from ssl_dml.checks import positive
from ssl_dml.types import ConfigError, ImageSpec, shown

SMALL_IMAGE = 96
LOADING = {"model_name", "cache_dir"}  # besides what begins with pretrained or checkpoint
REMEDY = "load weights with --init FILE or --init timm:NAME"


@final
class TimmBackbone(Backbone):
    """A network from timm without its classifier, with random weights.

    >>> backbone = TimmBackbone(ImageSpec.imagenet(32), name="resnet18", width=0.125)
    >>> backbone(torch.zeros(4, 3, 32, 32)).shape
    torch.Size([4, 64])

    Args:
        images: Size and number of channels of the images.
        name: Name of the network in timm, such as ``resnet18``, without a tag of weights.
        stem: First layers of a ResNet. ``small`` replaces them by one 3×3 convolution of stride 1
            without pooling (Chen et al., 2020, arXiv:2002.05709, appendix B.9), and ``auto`` does
            so for images under 96 pixels. Other families keep their own stem.
        width: Factor on the number of channels of every stage of a ResNet.
        options: Further arguments of the timm model, such as ``layers`` or ``patch_size``; none
            that loads a file or an address.

    Raises:
        ConfigError: If ``name`` or ``options`` ask for weights.
        ValueError: If timm has no such network, its family has no such stem or width, or the
            samples are sequences.
    """

    def __init__(
        self,
        images: ImageSpec,
        *,
        name: str,
        stem: Literal["auto", "small", "standard"] = "auto",
        width: float = 1.0,
        options: dict[str, int | float | bool | str | list[int]] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(images, ImageSpec):
            raise ValueError(
                "backbone: TimmBackbone is for images; for sequences use "
                "ssl_dml.backbones.SequenceBackbone"
            )
        _check_name(name)
        given = dict(options or {})
        _check_options(given)
        self.arguments: dict[str, Any] = {
            "model_name": name,
            "num_classes": 0,
            "in_chans": images.channels,
            **size_arguments(name, images),
            **_width_arguments(name, width),
        }
        self.arguments |= given
        network = create(self.arguments, images)
        if isinstance(network, ResNet):
            _set_stem(network, images, stem, own=width == 1)
        elif stem == "small":
            raise ValueError(
                f"backbone: stem 'small' is for ResNets, got {name}; "
                "for a transformer give options: {patch_size: ..., img_size: ...}"
            )
        self.network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.inputs = self._images = images
        # Some families widen their features once more after pooling.
        dim: Any = getattr(network, "head_hidden_size", None) or network.num_features
        self.feature_dim = int(dim)

    def forward(
        self, samples: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch dim"]:
        """Return pooled features of normalized images.

        Views of another size than that of the images are resized for a network of a fixed size.
        """
        return self.network(self.fitted(samples))

    def fitted(
        self, samples: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels *size"]:
        """Images in the size and layout that the network takes."""
        size: Any = self.arguments.get("img_size")
        if size is not None and not self.arguments.get("dynamic_img_size"):
            size = [size, size] if isinstance(size, int) else list(size)
            if list(samples.shape[2:]) != size:
                samples = F.interpolate(samples, size, mode="bilinear", antialias=True)
        return samples.contiguous(memory_format=torch.channels_last)

    def advice(self) -> str:
        """Sizes of images that the network takes."""
        return advice(self.arguments, self._images)

    def layers(self) -> list[list[nn.Parameter]]:
        """Return parameters layer by layer, as timm groups them."""
        matcher: Any = self.network.group_matcher(coarse=False)  # pyright: ignore[reportCallIssue]
        groups = group_parameters(self.network, matcher)
        named = dict(self.network.named_parameters())
        return [[named[name] for name in names] for names in groups.values()]

    def load_weights(self, weights: Path | Mapping[Any, Any]) -> str:
        """Load every weight of this network from a file, or from tensors by name.

        The classifier is left out; the first convolution is fitted to the number of channels, and
        positions to the image size.

        Args:
            weights: A file, or what was read of one.

        Returns:
            One line that says where they were found.

        Raises:
            ValueError: If one is missing; the weights then stay as they were.
        """
        content = read_file(weights) if isinstance(weights, Path) else weights
        fitted = fit_weights(content, self.network, self.arguments)
        self.network.load_state_dict(fitted.state)
        return fitted.report


def _check_name(name: str) -> None:
    """Raise if a name asks for weights, which timm would download or read, or is not timm's."""
    if any(mark in name for mark in ":/\\"):
        raise ConfigError(
            f"backbone.name is {name!r}, and must be the name of a network in timm, no address or "
            f"folder; {REMEDY}"
        )
    network, _, tag = name.partition(".")
    if tag:
        raise ConfigError(
            f"backbone.name is {name!r}, and its tag {tag!r} asks for weights, which a name does "
            f"not load; set it to {network}, and {REMEDY}"
        )
    if not timm.is_model(name):
        close = timm.list_models(f"*{name.rstrip('0123456789')}*")[:4]
        hint = f"; it has {', '.join(close)}" if close else ""
        raise ValueError(f"backbone: timm has no network {name!r}{hint}")


# Options that say how many layers there are, and how wide.
SIZES = ("layers", "depths", "depth", "num_heads", "embed_dim", "channels")


def _check_options(options: dict[str, Any]) -> None:
    """Raise if an option would let timm read a file or an address, of which some run code."""
    for key, value in options.items():
        if key in LOADING or key.startswith(("pretrained", "checkpoint")):
            raise ConfigError(
                f"backbone.options.{key} is {value!r}, and options load no weights, files or "
                f"addresses; remove it, and {REMEDY}"
            )
        numbers = value if isinstance(value, list | tuple) else [value]
        if key in SIZES and not (numbers and all(isinstance(n, int) and n > 0 for n in numbers)):
            raise ConfigError(f"backbone.options.{key} must be 1 or more, got {shown(value)}")


def _width_arguments(name: str, width: float) -> dict[str, object]:
    positive("backbone", width=width)
    if width == 1:
        return {}
    if name.startswith(("resnet", "resnext", "wide_resnet")):
        # A deep stem is the only one of timm's whose width can be set; _set_stem replaces it.
        channels = [8 * max(1, round(c * width / 8)) for c in (64, 128, 256, 512)]
        return {"channels": channels, "stem_type": "deep", "stem_width": channels[0] // 2}
    raise ValueError(
        f"backbone: width is for ResNets, got {name}; choose a smaller network of its family"
    )


def _set_stem(network: ResNet, images: ImageSpec, stem: str, *, own: bool) -> None:
    """Set the layers before the stages: one 3×3 convolution, the network's own, or one 7×7.

    A network whose width was changed was built with a deep stem that must be replaced.
    """
    small = stem == "small" or (stem == "auto" and min(images.sides) < SMALL_IMAGE)
    width = int(network.feature_info[0]["num_chs"])
    if small:
        network.conv1 = nn.Conv2d(images.channels, width, 3, stride=1, padding=1, bias=False)
        network.maxpool = nn.Identity()
    elif not own and isinstance(network.conv1, nn.Sequential):
        network.conv1 = nn.Conv2d(images.channels, width, 7, stride=2, padding=3, bias=False)
    else:
        return
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
