"""A linear classifier on frozen embeddings, its hyper-parameters chosen without the test set."""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.progress import progress
from ssl_dml.types import EmbeddingTable

MOMENTUM = 0.9
CHUNK = 1024


def linear_probe(
    gallery: EmbeddingTable,
    query: EmbeddingTable,
    *,
    learning_rates: Sequence[float] = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0),
    weight_decays: Sequence[float] = (0.0, 1e-4, 1e-3, 1e-2),
    epochs: int = 30,
    batch_size: int = 256,
    holdout: float = 0.1,
    seed: int = 0,
) -> dict[str, float]:
    """Top-1 accuracy of the best of a grid of linear classifiers.

    Features are standardized with the gallery's statistics. The whole grid trains side by side
    on one pass over the batches (SGD, momentum 0.9, cosine to zero); the pair that is best on a
    held-out part of the gallery trains once more on all of it, and the query is read once.

    Args:
        gallery: Rows to train on.
        query: Rows to test on.
        learning_rates: Candidates for a batch of 256, scaled linearly with the batch.
        weight_decays: Candidates.
        epochs: Passes over the gallery.
        batch_size: Rows in a step.
        holdout: Part of the gallery that the choice is made on.
        seed: Number the split and the order depend on.

    Returns:
        ``linear_top1`` on the query, ``linear_holdout_top1`` of the choice, both in [0, 1], and
        the choice: ``linear_lr`` and ``linear_weight_decay``.

    Raises:
        ValueError: If there is only one class, or too few rows to hold some out.
    """
    classes = int(torch.cat([gallery.labels, query.labels]).max()) + 1
    if len(gallery.labels.unique()) == 1:
        raise ValueError("a linear probe needs at least 2 classes; the gallery has 1")
    held = int(len(gallery.embeddings) * holdout)
    if held < 1:
        raise ValueError(
            f"a linear probe needs enough rows to hold {holdout:.0%} of them out, "
            f"got {len(gallery.embeddings)}"
        )
    mean, std = gallery.embeddings.mean(0), gallery.embeddings.std(0).clamp_min(1e-6)
    x, asked = ((table.embeddings - mean) / std for table in (gallery, query))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    chosen_on, trained_on = order[:held], order[held:]
    grid = torch.tensor(list(product(learning_rates, weight_decays)))

    def train(rows: Tensor, pairs: Float[Tensor, "grid 2"]) -> Tensor:
        return _train(
            x[rows],
            gallery.labels[rows],
            pairs,
            classes=classes,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
        )

    accuracies = _accuracy(train(trained_on, grid), x[chosen_on], gallery.labels[chosen_on])
    best = int(accuracies.argmax())
    final = train(order, grid[best : best + 1])
    return {
        "linear_top1": float(_accuracy(final, asked, query.labels)),
        "linear_holdout_top1": float(accuracies[best]),
        "linear_lr": float(grid[best, 0]),
        "linear_weight_decay": float(grid[best, 1]),
    }


def _with_one(x: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim_and_bias"]:
    return F.pad(x, (0, 1), value=1.0)


def _train(
    x: Float[Tensor, "rows dim"],
    labels: Int[Tensor, " rows"],
    pairs: Float[Tensor, "grid 2"],
    *,
    classes: int,
    epochs: int,
    batch_size: int,
    seed: int,
) -> Float[Tensor, "grid dim_and_bias classes"]:
    """Weights of every classifier of the grid; they share batches and nothing else."""
    generator = torch.Generator().manual_seed(seed)
    x = _with_one(x)
    weights = torch.zeros(len(pairs), x.shape[1], classes)
    velocity = torch.zeros_like(weights)
    batch_size = min(batch_size, len(x))
    rates, decays = (column.view(-1, 1, 1) for column in pairs.unbind(1))
    total = epochs * (len(x) // batch_size)
    bar = progress(total, "linear probe", "steps", delay=5.0)
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for i, rows in enumerate(order.split(batch_size)[: len(x) // batch_size]):
            fraction = torch.tensor((epoch * (len(x) // batch_size) + i) / total)
            scale = batch_size / 256 * 0.5 * (1 + torch.cos(torch.pi * fraction))
            batch = x[rows]
            probabilities = (batch @ weights).softmax(dim=2)
            probabilities[:, torch.arange(len(rows)), labels[rows]] -= 1
            gradient = batch.T @ probabilities / len(rows)  # of the cross-entropy, in closed form
            velocity.mul_(MOMENTUM).add_(gradient + decays * weights)
            weights -= rates * scale * velocity
            bar.update()
    bar.close()
    return weights


def _accuracy(
    weights: Float[Tensor, "grid dim_and_bias classes"],
    x: Float[Tensor, "rows dim"],
    labels: Int[Tensor, " rows"],
) -> Float[Tensor, " grid"]:
    right = torch.zeros(len(weights))
    for rows, theirs in zip(_with_one(x).split(CHUNK), labels.split(CHUNK), strict=True):
        right += ((rows @ weights).argmax(dim=2) == theirs).sum(dim=1)
    return right / len(x)
