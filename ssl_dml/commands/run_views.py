"""Embeddings of the views that a run's own augmentation makes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.augment import Augmentation
from ssl_dml.backbones import Backbone
from ssl_dml.config import fill
from ssl_dml.data import SampleSet
from ssl_dml.evaluation.compute import Compute
from ssl_dml.evaluation.probe import view_features
from ssl_dml.trust import naming
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec
from ssl_dml.yaml_text import read_yaml

SAMPLES, VIEWS = 1000, 10


@dataclass(frozen=True, kw_only=True)
class _Augmented:
    augment: Callable[[ImageSpec | SequenceSpec], Augmentation]


def run_views(
    run: Path, backbone: Backbone, samples: SampleSet, *, device: torch.device, trust: bool
) -> Float[Tensor, "samples views features"]:
    """Features of 10 views of each of up to 1,000 evenly spaced samples, the same each time.

    Args:
        run: Its ``config.yaml`` names the augmentation.
        backbone: On ``device``, in evaluation mode.
        samples: The data set.
        device: Of the backbone.
        trust: Import the module of any augmentation that is named.

    Raises:
        ConfigError: Naming the file, if the augmentation cannot be built.
    """
    path = run / "config.yaml"
    try:
        with naming(None if trust else ()):
            values = {"augment": read_yaml(path)["augment"]}
            augment = fill(_Augmented, values).augment(samples.spec).to(device)
    except (ConfigError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} names no augmentation that can be built: {error}") from error
    with torch.no_grad():
        given = {"most": SAMPLES, "count": VIEWS, "compute": Compute(device=device)}
        return view_features(backbone, samples, augment, **given)
