"""Linear probe: a linear classifier on frozen embeddings, tuned without the test set."""

from collections.abc import Sequence
from functools import partial
from itertools import chain, product

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.checks import at_least, in_range, positive
from ssl_dml.evaluation.compute import CPU, ONE_PROCESS, Compute
from ssl_dml.progress import progress
from ssl_dml.tables import EmbeddingTable

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
    compute: Compute = ONE_PROCESS,
) -> dict[str, float]:
    """Top-1 accuracy of a linear classifier, the best of a grid of hyper-parameters.

    Features are standardized with the gallery's mean and standard deviation. All classifiers of
    the grid train on the same batches (SGD, momentum 0.9, cosine to zero). The pair of learning
    rate and weight decay that is best on a held-out part of the gallery trains once more on all
    of it, and is tested on the query once. Of several processes each trains a share of the grid.

    Args:
        gallery: Rows to train on.
        query: Rows to test on.
        learning_rates: Learning rates to try, for a batch of 256; scaled linearly with the batch.
        weight_decays: Weight decays to try.
        epochs: Passes over the gallery.
        batch_size: Rows in a batch.
        holdout: Fraction of the gallery to choose the hyper-parameters on.
        seed: Seed of the split and of the order of batches.
        compute: The device that trains, and the processes that share the grid.

    Returns:
        ``linear_top1`` on the query, ``linear_holdout_top1`` on the held-out part, both in [0, 1],
        and the chosen ``linear_lr`` and ``linear_weight_decay``.

    Raises:
        ValueError: If an option is out of range, there is only one class, or too few rows to hold
            some out.

    >>> labels = torch.arange(40) % 2
    >>> rows = F.one_hot(labels) + torch.linspace(0, 0.1, 80).view(40, 2)
    >>> table = EmbeddingTable(embeddings=rows, labels=labels)
    >>> linear_probe(table, table, epochs=5)["linear_top1"]
    1.0
    """
    at_least(1, epochs=epochs, batch_size=batch_size)
    in_range(0, 1, holdout=holdout)
    for learning_rate, weight_decay in product(learning_rates, weight_decays):
        positive(learning_rates=learning_rate)
        at_least(0, weight_decays=weight_decay)
    classes = int(torch.cat([gallery.labels, query.labels]).max()) + 1
    if len(gallery.labels.unique()) == 1:
        raise ValueError("a linear probe needs at least 2 classes; the gallery has 1")
    held = int(len(gallery.embeddings) * holdout)
    if not 0 < held < len(gallery.embeddings):
        raise ValueError(
            f"a linear probe needs enough rows to hold {holdout:.0%} of them out, "
            f"got {len(gallery.embeddings)}"
        )
    mean, std = gallery.embeddings.mean(0), gallery.embeddings.std(0).clamp_min(1e-6)
    x, tested = (F.pad((t.embeddings - mean) / std, (0, 1), value=1.0) for t in (gallery, query))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    grid = torch.tensor(list(product(learning_rates, weight_decays)))
    options = {"classes": classes, "epochs": epochs, "batch_size": batch_size, "seed": seed}
    train = partial(_train, x, gallery.labels, device=compute.device, **options)
    accuracies = torch.zeros(len(grid))
    if len(own := grid[compute.share]):
        weights, rows = train(order[held:], own), order[:held]
        accuracies[compute.share] = _accuracy(weights, x[rows], gallery.labels[rows])
    accuracies = compute.whole(accuracies)
    best = int(accuracies.argmax())
    final = train(order, grid[best : best + 1])
    return {
        "linear_top1": float(_accuracy(final, tested, query.labels)),
        "linear_holdout_top1": float(accuracies[best]),
        "linear_lr": float(grid[best, 0]),
        "linear_weight_decay": float(grid[best, 1]),
    }


def _train(
    x: Float[Tensor, "samples dim"],
    labels: Int[Tensor, " samples"],
    rows: Int[Tensor, " rows"],
    grid: Float[Tensor, "grid 2"],
    *,
    classes: int,
    epochs: int,
    batch_size: int,
    seed: int,
    device: torch.device = CPU,
) -> Float[Tensor, "grid dim classes"]:
    """Weights of every classifier of the grid, trained on some rows of x, which ends in a 1."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.zeros(len(grid), x.shape[1], classes, device=device)
    velocity = torch.zeros_like(weights)
    batch_size = min(batch_size, len(rows))
    steps = epochs * (len(rows) // batch_size)
    learning_rates, decays = (column.view(-1, 1, 1) for column in grid.to(device).unbind(1))
    schedule = 0.5 * (1 + torch.cos(torch.pi * torch.arange(steps) / steps))
    orders = (rows[torch.randperm(len(rows), generator=generator)] for _ in range(epochs))
    batches = (order[: len(rows) // batch_size * batch_size].split(batch_size) for order in orders)
    bar = progress(steps, "linear probe", "steps", delay=5.0)
    places = torch.arange(batch_size, device=device)
    for scale, chosen in zip(schedule.tolist(), chain.from_iterable(batches), strict=True):
        batch, wanted = x[chosen].to(device), labels[chosen].to(device)
        probabilities = (batch @ weights).softmax(dim=2)
        probabilities[:, places, wanted] -= 1
        gradient = batch.T @ probabilities / batch_size  # of the cross-entropy, in closed form
        velocity.mul_(MOMENTUM).add_(gradient + decays * weights)
        weights -= learning_rates * (batch_size / 256 * scale) * velocity
        bar.update()
    bar.close()
    return weights


def _accuracy(
    weights: Float[Tensor, "grid dim classes"],
    x: Float[Tensor, "rows dim"],
    labels: Int[Tensor, " rows"],
) -> Float[Tensor, " grid"]:
    right = torch.zeros(len(weights), device=weights.device)
    for rows, wanted in zip(x.split(CHUNK), labels.split(CHUNK), strict=True):
        found = (rows.to(weights.device) @ weights).argmax(dim=2)
        right += (found == wanted.to(weights.device)).sum(dim=1)
    return right.cpu() / len(x)
