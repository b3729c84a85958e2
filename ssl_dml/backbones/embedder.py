"""A backbone and the neck that turns its features into an embedding to search by."""

from typing import Any, Literal, final

from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.chunked import Chunked
from ssl_dml.backbones.saved import build
from ssl_dml.types import ImageSpec, Samples, SequenceSpec

Neck = Literal["none", "linear", "batch_norm", "linear_batch_norm"]


@final
class Embedder(Backbone):
    """An embedding model: what fine-tuning trains and keeps.

    Args:
        inputs: The samples it is for.
        class_path: Dotted path of the backbone's class.
        init_args: Keyword arguments that build it.
        neck: What follows: nothing; a ``linear`` map; a ``batch_norm``, without which classes
            under a softmax and pairs under a distance pull apart (Luo et al., 2019,
            arXiv:1903.07071); or both, as face recognition has it. As theirs it has no shift:
            with one, embeddings can go to the far side of all class weights together, where
            cos(θ + m) rises again and the loss of ArcFace is low.
        dim: Dimension of an embedding; None keeps that of the features, which a neck without a
            linear map has to.

    Raises:
        ValueError: If the class is not installed or no backbone, or ``dim`` and neck do not fit.
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
        if dim is not None and dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        if dim not in (None, features) and not neck.startswith("linear"):
            raise ValueError(
                f"dim must be null or the {features} of the backbone with neck {neck}, got {dim}; "
                "neck linear maps to any"
            )
        self.inputs, self.feature_dim = inputs, dim or features
        layers: list[nn.Module] = []
        if neck.startswith("linear"):
            # The batch norm takes its mean away.
            layers.append(nn.Linear(features, self.feature_dim, bias=neck == "linear"))
        if neck.endswith("batch_norm"):
            norm = nn.BatchNorm1d(self.feature_dim)
            norm.bias.requires_grad_(False)
            layers.append(norm)
        self.neck = nn.Sequential(*layers)

    def forward(self, samples: Samples) -> Float[Tensor, "batch dim"]:
        """Embeddings of normalized samples, of any length."""
        return self.neck(self.backbone(samples))

    def layers(self) -> list[list[nn.Parameter]]:
        """Parameters from the first layer of the backbone to the neck."""
        return [*layers(self.backbone), list(self.neck.parameters())]


def layers(backbone: nn.Module) -> list[list[nn.Parameter]]:
    """Trainable parameters of a network from its first layer to its last.

    A backbone may say itself what its layers are; else they are its children in order, and what
    it holds itself, such as a class token, is of the first.
    """
    if isinstance(backbone, Chunked):
        return layers(backbone.backbone)
    own: Any = getattr(backbone, "layers", None)
    children = [list(child.parameters()) for child in backbone.children()] or [[]]
    children[0] = [*backbone.parameters(recurse=False), *children[0]]
    groups: Any = own() if callable(own) else children
    trained = [[p for p in group if p.requires_grad] for group in groups]
    return [group for group in trained if group]
