"""Which invariances help or harm on which images, by a linear map of pixels: no training, minutes.

Pixels are whitened by pairs of views that differ in one respect (``whiten_by: views``). Where the
neighbors of test samples get better, classes do not depend on it; where they get worse, they do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ssl_dml.augment import Crops, ImageViews, Normalize
from ssl_dml.augment.color import ChannelJitter, ColorJitter, GrayJitter
from ssl_dml.backbones.whitening import whitening
from ssl_dml.data import DataConfig, SampleSet, load_test, load_train
from ssl_dml.evaluation import retrieval
from ssl_dml.evaluation.health import evenly_spaced
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError, ImageSpec

DIMS, SIDE, COLOR = 160, 16, 3
CROPS: Mapping[str, Mapping[str, Any]] = {
    "crops of 0.7 or more": {"scale": (0.7, 1.0)},
    "crops of 0.2 or more": {"scale": (0.2, 1.0)},
    "flip": {"flip": 0.5},
    "rotation by 15 degrees": {"degrees": 15.0},
}
WHOLE: Mapping[str, Any] = {"scale": (1.0, 1.0), "flip": 0.0}


def invariance_table(
    sources: Sequence[str] = ("hangul", "fashion_mini"), *, most: int = 2000, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Print recall@1 of test samples among each other, in percent, by source and invariance.

    Args:
        sources: As ``data.source``; each has labeled training and test samples.
        most: Most samples to learn from, and most to search.
        seed: Of the views.

    Returns:
        Recall@1 for each invariance of each source.

    Raises:
        ConfigError: If a source has no labeled test samples, or is no images.
    """
    found = dict[str, dict[str, float]]()
    for source in sources:
        found[source] = _measured(source, most, seed)
        print(f"\n| {source} | recall@1 |\n|---|---|")
        for name, recall in found[source].items():
            print(f"| {name} | {100 * recall:.1f} |", flush=True)
    return found


def _measured(source: str, most: int, seed: int) -> dict[str, float]:
    config = DataConfig(source=source)
    train = load_train(config)
    test, spec = load_test(config, train), train.spec
    if not isinstance(spec, ImageSpec) or test is None or test.labels is None:
        raise ConfigError(f"sources: {source!r} must be images with labeled test samples")
    clean, queries = _pixels(train, most), _pixels(test, most)
    labels = test.labels[evenly_spaced(len(test), most)]

    def recall(features: torch.Tensor) -> float:
        return retrieval(EmbeddingTable(embeddings=features, labels=labels), ks=[1])["recall_at_1"]

    found = {"raw pixels": recall(queries)}
    weight, bias = whitening(clean, DIMS)
    found["whitened by samples"] = recall(queries @ weight.T + bias)
    stored = train[evenly_spaced(len(train), most)][0]
    for name, views in _invariances(spec).items():
        torch.manual_seed(seed)
        pairs = [torch.stack([*map(_pooled, views(part))], dim=1) for part in stored.split(256)]
        weight, bias = whitening(clean, DIMS, torch.cat(pairs))
        found[name] = recall(queries @ weight.T + bias)
    return found


def _invariances(spec: ImageSpec) -> dict[str, ImageViews]:
    """Views that differ in one respect."""
    light = GrayJitter(brightness=0.4, contrast=0.4)
    steps: dict[str, nn.Module] = {"brightness and contrast": light}
    if spec.channels == COLOR:
        own = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.4, "probability": 0.8}
        steps["hue and saturation"] = ColorJitter(**own, hue=0.1, grayscale=0.0)
        steps["grayscale"] = ColorJitter(**{**own, "saturation": 0.0}, hue=0.0, grayscale=0.2)
    elif spec.channels > 1:
        steps["gain of channels"] = ChannelJitter(gain=0.3, drop=0.0)
    return {
        **{name: ImageViews(spec, [], crops=Crops(**{**WHOLE, **c})) for name, c in CROPS.items()},
        **{name: ImageViews(spec, [step], crops=Crops(**WHOLE)) for name, step in steps.items()},
    }


def _pixels(samples: SampleSet, most: int) -> torch.Tensor:
    stored = samples[evenly_spaced(len(samples), most)][0]
    normalize = Normalize(samples.spec)
    return torch.cat([_pooled(normalize(part)) for part in stored.split(256)])


def _pooled(images: torch.Tensor) -> torch.Tensor:
    return F.adaptive_avg_pool2d(images, SIDE).flatten(1)
