"""Where an embedding model starts from: a saved backbone, timm weights, or random weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ssl_dml.backbones.embedder import Embedder, Neck
from ssl_dml.backbones.image import TimmBackbone
from ssl_dml.backbones.saved import METADATA, load, read_metadata
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec


@final
@dataclass(frozen=True, kw_only=True)
class Initial:
    """A backbone to start from.

    Args:
        class_path: Dotted path of its class.
        init_args: Keyword arguments that build it.
        inputs: The samples it was trained on; None where it takes those of the data.
        weights: A saved backbone's folder or a file of timm weights; None for random weights.
    """

    class_path: str
    init_args: dict[str, Any]
    inputs: ImageSpec | SequenceSpec | None = None
    weights: Path | None = None

    def arguments(self, *, neck: Neck, dim: int | None) -> dict[str, Any]:
        """What builds the embedding model again."""
        return {
            "class_path": self.class_path, "init_args": self.init_args, "neck": neck, "dim": dim,
        }  # fmt: skip

    def build(self, inputs: ImageSpec | SequenceSpec, *, neck: Neck, dim: int | None) -> Embedder:
        """Backbone and neck, with the weights they start from.

        Args:
            inputs: The samples of the data; those of the saved backbone win.
            neck: What follows the backbone.
            dim: Dimension of an embedding; None keeps that of the features.

        Raises:
            ConfigError: If neck and dimension do not fit, or the weights are a file and the
                backbone is not of timm.
            ValueError: If the weights do not fit the network.
        """
        try:
            embedder = Embedder(self.inputs or inputs, **self.arguments(neck=neck, dim=dim))
        except ValueError as error:
            if not str(error).startswith("dim "):
                raise
            raise ConfigError(f"embedding_{error}") from error
        if self.weights is None:
            return embedder
        if self.weights.is_dir():
            embedder.backbone.load_state_dict(load(self.weights).state_dict())
        elif isinstance(embedder.backbone, TimmBackbone):
            embedder.backbone.load_weights(self.weights)
        else:
            raise ConfigError(
                f"init {str(self.weights)!r} is a file, which is for a network of timm, and the "
                f"backbone is {self.class_path}; name a folder with a {METADATA}"
            )
        return embedder


def initial(init: Path | None, class_path: str, init_args: dict[str, Any]) -> Initial:
    """The saved backbone that ``init`` names, or a configured one with or without weights.

    Args:
        init: A folder that :func:`~ssl_dml.backbones.save` wrote, a file of weights, or None.
        class_path: Class of the backbone, unless ``init`` is a folder.
        init_args: Its arguments.

    Examples:
        >>> initial(None, "ssl_dml.backbones.TimmBackbone", {"name": "resnet18"}).weights is None
        True
    """
    if init is not None and not init.exists():
        raise ConfigError(f"init {str(init)!r}: there is no such file or folder")
    if init is None or not init.is_dir():
        return Initial(class_path=class_path, init_args=init_args, weights=init)
    saved = read_metadata(init)
    return Initial(
        class_path=saved["class_path"],
        init_args=saved["init_args"],
        inputs=saved["inputs"],
        weights=init,
    )
