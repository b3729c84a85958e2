"""Image backbone that encodes each patch by itself."""

from dataclasses import replace
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.image import TimmBackbone
from ssl_dml.types import ImageSpec, SequenceSpec

NORM = {"norm_layer": "layernorm2d"}


@final
class PatchBackbone(Backbone):
    """Cut an image into overlapping patches and encode each with a network from timm.

    No layer may mix patches. Batch norm would: it tells each patch about the others, and
    predicting patches can then be solved without learning (van den Oord et al., 2018,
    arXiv:1807.03748, sec. 3.2; Hénaff et al., 2019, arXiv:1905.09272). ResNets are therefore
    built with layer norm, unless ``options`` names another ``norm_layer``, such as
    ``groupnorm1``.

    >>> spec = ImageSpec.imagenet(32)
    >>> backbone = PatchBackbone(spec, patch=16, stride=8, name="resnet18", width=0.125)
    >>> backbone.grid(torch.zeros(4, 3, 32, 32)).shape  # 3 rows and 3 columns of patches
    torch.Size([4, 3, 3, 64])

    Args:
        inputs: Size and number of channels of the images.
        patch: Side of a patch in pixels; 64 of 256 in the paper.
        stride: Pixels from one patch to the next; half of ``patch`` in the paper.
        name: Name of the network in timm.
        stem: See :class:`~ssl_dml.backbones.image.TimmBackbone`; ``auto`` goes by ``patch``.
        width: The same.
        options: The same.

    Raises:
        ValueError: If ``patch`` or ``stride`` does not fit, the network has batch norm or strides
            over a single pixel, or the samples are sequences.
    """

    def __init__(
        self,
        inputs: ImageSpec | SequenceSpec,
        *,
        patch: int,
        stride: int,
        name: str,
        stem: Literal["auto", "small", "standard"] = "auto",
        width: float = 1.0,
        options: dict[str, int | float | bool | str | list[int]] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(inputs, ImageSpec):
            raise ValueError(
                "backbone: PatchBackbone is for images; for sequences use "
                "ssl_dml.backbones.SequenceBackbone"
            )
        if not 1 <= patch <= (side := min(inputs.sides)):
            raise ValueError(
                f"backbone: patch must be from 1 to the {side} pixels of the images' side, got "
                f"{patch}"
            )
        if not 1 <= stride <= patch:
            raise ValueError(f"backbone: stride must be from 1 to patch {patch}, got {stride}")
        defaults = NORM if name.startswith(("resnet", "resnext", "wide_resnet")) else {}
        self.encoder = TimmBackbone(
            replace(inputs, size=patch),
            name=name,
            stem=stem,
            width=width,
            options={**defaults, **(options or {})},
        )
        if any(isinstance(module, _BatchNorm) for module in self.encoder.modules()):
            raise ValueError(
                f"backbone: {name} has batch norm, which mixes patches; use a ResNet, with "
                "options: {norm_layer: layernorm2d}, or a vision transformer"
            )
        _check_size(self.encoder, inputs.channels, patch)
        self.patch, self.stride = patch, stride
        self.inputs, self.feature_dim = inputs, self.encoder.feature_dim

    def layers(self) -> list[list[nn.Parameter]]:
        """Return parameters layer by layer, as timm groups them."""
        return self.encoder.layers()

    def grid(
        self, samples: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch rows cols dim"]:
        """Return the feature of every patch; a remainder at the right and bottom is not used.

        Raises:
            ValueError: If the images are smaller than a patch.
        """
        if min(samples.shape[2:]) < self.patch:
            raise ValueError(
                f"backbone: patch {self.patch} is larger than views of {samples.shape[2]}x"
                f"{samples.shape[3]}; set a smaller patch or a larger crops.resolution"
            )
        patches = samples.unfold(2, self.patch, self.stride).unfold(3, self.patch, self.stride)
        patches = patches.permute(0, 2, 3, 1, 4, 5)
        return self.encoder(patches.flatten(0, 2)).unflatten(0, patches.shape[:3])

    def forward(
        self, samples: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch dim"]:
        """Return the mean feature over the patches of normalized images."""
        return self.grid(samples).mean(dim=(1, 2))


def _check_size(encoder: TimmBackbone, channels: int, patch: int) -> None:
    """Raise if a stride meets a single pixel; its gradients are wrong in bf16 on a CPU.

    oneDNN leaves the weights of a 3×3 kernel's borders unset there (torch 2.15).
    """
    sizes: list[int] = []
    handles = [
        module.register_forward_pre_hook(lambda _, inputs: sizes.append(max(inputs[0].shape[2:])))
        for module in encoder.modules()
        if isinstance(module, nn.Conv2d) and max(module.stride) > 1 and max(module.kernel_size) > 1
    ]
    encoder(torch.zeros(1, channels, patch, patch))
    for handle in handles:
        handle.remove()
    if 1 in sizes:
        raise ValueError(
            f"backbone: the network shrinks a patch of {patch} to one pixel before its last "
            "stride; set stem: small, a larger patch, or options: {output_stride: 8}"
        )
