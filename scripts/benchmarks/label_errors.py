"""Whether wrong labels are found, beside cleanlab on the same features."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks.audit import parts
from ssl_dml.data import DataConfig, load_train
from ssl_dml.data.images import is_image
from ssl_dml.evaluation.label_errors import label_errors
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError

SCORES = ("self_confidence", "normalized_margin")
FOLDS, NEIGHBORS = 5, 20
SIDE = 16  # pixels of a part of a photograph


def label_table(
    *,
    sets: Sequence[str] = ("fashion_mini", "hangul"),
    photos: Path | None = None,
    rates: Sequence[float] = (0.05, 0.1, 0.2),
    seeds: Sequence[int] = (0, 1, 2),
    rows: int = 3000,
) -> list[dict[str, Any]]:
    """Give samples another class at random, and print the average precision of finding them.

    Features are raw pixels. cleanlab gets the probabilities of its guide, by cross-fitted logistic
    regression or by neighbors of the same features; both of its scores are printed for each.

    Args:
        sets: Embedded samples; whole classes, as many as fit into ``rows``.
        photos: Folder of photographs: of each part of one, the label says of which.
        rates: Part of the labels that is wrong.
        seeds: Each draws the wrong labels anew.
        rows: Samples of a set at most.

    Raises:
        ConfigError: If cleanlab is not installed.
    """
    try:
        rank = import_module("cleanlab.rank")
    except ImportError as error:
        raise ConfigError(
            "wrong labels are compared with cleanlab: pip install cleanlab"
        ) from error
    found = list[dict[str, Any]]()
    for name in [*sets, *([] if photos is None else [photos])]:
        features, labels = _parts(name) if isinstance(name, Path) else _sample(name, rows)
        for rate in rates:
            for seed in seeds:
                given, wrong = mislabeled(labels, rate=rate, seed=seed)
                own = label_errors(EmbeddingTable(embeddings=features, labels=given))
                precision = {"ours": _precision(wrong, own.support)}
                for model, told in _told(features.numpy(), given.numpy(), seed).items():
                    for method in SCORES:
                        scores = rank.get_label_quality_scores(given.numpy(), told, method=method)
                        precision[f"{model}, {method}"] = _precision(wrong, scores)
                found.append({"set": str(name), "rate": rate, "seed": seed, **precision})
                told = ", ".join(f"{key} {value:.3f}" for key, value in precision.items())
                print(
                    f"{name!s:12} {len(labels):,} rows, {rate:.0%}, seed {seed}: {told}", flush=True
                )
    return found


def mislabeled(
    labels: Int[Tensor, " rows"], *, rate: float, seed: int
) -> tuple[Int[Tensor, " rows"], Bool[Tensor, " rows"]]:
    """Labels of which a part is another class, any with the same chance, and which these are.

    >>> given, wrong = mislabeled(torch.tensor([0, 1, 2, 2]), rate=0.5, seed=0)
    >>> int(wrong.sum()), ((given != torch.tensor([0, 1, 2, 2])) == wrong).all().item()
    (2, True)
    """
    generator, classes = torch.Generator().manual_seed(seed), int(labels.max()) + 1
    wrong = torch.zeros(len(labels), dtype=torch.bool)
    wrong[torch.randperm(len(labels), generator=generator)[: round(rate * len(labels))]] = True
    other = labels + torch.randint(1, classes, labels.shape, generator=generator)
    return torch.where(wrong, other % classes, labels), wrong


def _told(
    features: Float[np.ndarray, "rows dim"], labels: Int[np.ndarray, " rows"], seed: int
) -> dict[str, Float[np.ndarray, "rows classes"]]:
    """Probability of each class of each row, of models that have not seen the row."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    x, y = StandardScaler().fit_transform(features)[order], labels[order]
    models = {
        "logistic": LogisticRegression(max_iter=200),
        "neighbors": KNeighborsClassifier(NEIGHBORS, weights="distance"),
    }
    found = dict[str, Any]()
    for name, model in models.items():
        told = cross_val_predict(model, x, y, cv=FOLDS, method="predict_proba")
        found[name] = np.empty_like(told)
        found[name][order] = told
    return found


def _precision(wrong: Tensor, quality: Any) -> float:  # noqa: ANN401 - of numpy or torch
    return float(average_precision_score(wrong.numpy(), -np.asarray(quality)))


def _sample(name: str, rows: int) -> tuple[Float[Tensor, "rows dim"], Int[Tensor, " rows"]]:
    """The first classes of an embedded sample, or of its few classes the first samples of each."""
    train = load_train(DataConfig(source=name))
    assert train.labels is not None
    labels, classes = train.labels, int(train.labels.max()) + 1
    size = len(labels) // classes
    if classes * size > rows and size < rows // 10:
        chosen = (labels < rows // size).nonzero()[:, 0]
    else:
        chosen = torch.cat([
            (labels == label).nonzero()[: max(1, rows // classes), 0] for label in range(classes)
        ])  # fmt: skip
    pixels = torch.cat([train[part][0] for part in chosen.split(1024)])
    return pixels.flatten(1).float() / 255, labels[chosen]


def _parts(folder: Path) -> tuple[Float[Tensor, "rows dim"], Int[Tensor, " rows"]]:
    """Parts of photographs of few pixels, and the photograph that each is of."""
    rows, labels = list[np.ndarray](), list[int]()
    for label, path in enumerate(sorted(filter(is_image, folder.iterdir()))):
        for part in parts(path):
            rows.append(np.asarray(part.resize((SIDE, SIDE)), np.float32).ravel() / 255)
            labels.append(label)
    _, known = np.unique(labels, return_inverse=True)
    return torch.from_numpy(np.stack(rows)), torch.from_numpy(known)
