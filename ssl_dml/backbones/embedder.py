"""A backbone with a neck that turns its features into embeddings."""

from typing import Any, Literal, final

from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.building import build
from ssl_dml.backbones.chunked import Chunked
from ssl_dml.checks import at_least
from ssl_dml.types import ImageSpec, Samples, SequenceSpec

Neck = Literal["none", "linear", "batch_norm", "linear_batch_norm"]


@final
class Embedder(Backbone):
    """An embedding model: the network that fine-tuning trains and saves.

    >>> import torch
    >>> embedder = Embedder(
    ...     ImageSpec.imagenet(32),
    ...     class_path="ssl_dml.backbones.TimmBackbone",
    ...     init_args={"name": "resnet18", "width": 0.125},
    ...     dim=16,
    ... )
    >>> embedder(torch.zeros(4, 3, 32, 32)).shape
    torch.Size([4, 16])

    Args:
        inputs: Size and normalization of the samples.
        class_path: Dotted path of the backbone's class.
        init_args: Keyword arguments of its constructor.
        neck: Layers between the features and the embedding: ``none``; a ``linear`` map; a
            ``batch_norm``, which reconciles a softmax over classes with a distance between pairs
            (Luo et al., 2019, arXiv:1903.07071); or both, as in face recognition. As in face
            recognition, the batch norm has no bias: with one, all embeddings can move to the far
            side of the class weights, where cos(θ + m) rises again and ArcFace's loss is low.
        dim: Dimension of an embedding; None keeps that of the features. Only a neck with a linear
            map can change it.

    Raises:
        ValueError: If the class is not installed or is no backbone, or ``dim`` needs a linear
            neck.
    """

    def __init__(
        self,
        inputs: ImageSpec | SequenceSpec,
        *,
        class_path: str,
        init_args: dict[str, Any] | None = None,
        neck: Neck = "linear",
        dim: int | None = None,
    ) -> None:
        super().__init__()
        self.backbone = build(class_path, init_args or {}, inputs)
        features = self.backbone.feature_dim
        at_least(1, dim=dim)
        if dim not in (None, features) and not neck.startswith("linear"):
            raise ValueError(
                f"dim must be null or the {features} of the backbone with neck {neck}, got {dim}; "
                "neck linear maps to any"
            )
        self.inputs, self.feature_dim = inputs, features if dim is None else dim
        layers: list[nn.Module] = []
        if neck.startswith("linear"):
            # A bias would be lost: the batch norm subtracts the mean.
            layers.append(nn.Linear(features, self.feature_dim, bias=neck == "linear"))
        if neck.endswith("batch_norm"):
            norm = nn.BatchNorm1d(self.feature_dim)
            norm.bias.requires_grad_(False)
            layers.append(norm)
        self.neck = nn.Sequential(*layers)

    def forward(self, samples: Samples) -> Float[Tensor, "batch dim"]:
        """Return embeddings of normalized samples; they are not L2-normalized."""
        return self.neck(self.backbone(samples))

    def layers(self) -> list[list[nn.Parameter]]:
        """Return parameters layer by layer, from the first of the backbone to the neck."""
        return [*layers(self.backbone), list(self.neck.parameters())]


def layers(backbone: nn.Module) -> list[list[nn.Parameter]]:
    """Return the trainable parameters layer by layer, from first to last.

    A network with a method ``layers`` names its layers itself. Otherwise they are its children
    in order, and its own parameters, such as a class token, belong to the first.

    >>> [len(group) for group in layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))]
    [2, 2]
    """
    if isinstance(backbone, Chunked):
        return layers(backbone.backbone)
    own: Any = getattr(backbone, "layers", None)
    children = [list(child.parameters()) for child in backbone.children()] or [[]]
    children[0] = [*backbone.parameters(recurse=False), *children[0]]
    is_method = callable(own) and not isinstance(own, nn.Module)  # a part may be called layers
    groups: Any = own() if is_method else children
    trained = [[p for p in group if p.requires_grad] for group in groups]
    return [group for group in trained if group]
