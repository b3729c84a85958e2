"""Self-supervised contrastive pretraining and deep metric learning for images and audio.

Names are imported when they are first used, so that ``import ssl_dml`` is quick.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("ssl_dml")

_MODULES = (
    "augment", "backbones", "data", "distances", "evaluation", "heads", "index", "losses",
    "margins", "memory", "methods", "mining", "training",
)  # fmt: skip
_HOMES = {
    "EmbeddingModel": "ssl_dml.api",
    "load": "ssl_dml.api",
    "pretrain": "ssl_dml.api",
    "finetune": "ssl_dml.api",
    "Batch": "ssl_dml.types",
    "EmbeddingTable": "ssl_dml.tables",
    "ImageSpec": "ssl_dml.types",
    "SequenceSpec": "ssl_dml.types",
    "StepOutput": "ssl_dml.types",
}
__all__ = [  # noqa: PLE0604 - names of modules and of their members
    "__version__",
    *_MODULES,  # pyright: ignore[reportUnsupportedDunderAll]
    *_HOMES,  # pyright: ignore[reportUnsupportedDunderAll]
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _MODULES:
        return import_module(f"ssl_dml.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ssl_dml' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
