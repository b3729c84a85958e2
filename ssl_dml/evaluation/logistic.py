"""Logistic regression on frozen embeddings, to the optimum."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.checks import at_least, inside, positive
from ssl_dml.checks import seeds as check_seeds
from ssl_dml.distributed import broadcast_object
from ssl_dml.evaluation.bootstrap import interval
from ssl_dml.evaluation.compute import ONE_PROCESS, Compute
from ssl_dml.evaluation.knn import knn_correct
from ssl_dml.evaluation.repeated import repeated
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import ConfigError

Loss = Callable[..., tuple[float, np.ndarray]]
CHUNK = 8192
ROUGH, FINE = 1e-4, 1e-8  # gains of the objective that end the choice of l2, and the training


def logistic(
    gallery: EmbeddingTable,
    query: EmbeddingTable,
    *,
    l2s: Sequence[float] = (0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6),
    holdout: float = 0.1,
    iterations: int = 300,
    seed: int = 0,
    compute: Compute = ONE_PROCESS,
) -> dict[str, float]:
    r"""Top-1 accuracy of multinomial logistic regression by L-BFGS.

    With features x, standardized by the gallery's mean and standard deviation,

    .. math:: \min_{W, b} \; -\frac1n \sum_i \log p_{W, b}(y_i \mid x_i)
        + \frac{\lambda}{2} \lVert W \rVert^2

    The :math:`\lambda` that is best on a held-out part of the gallery, the larger one of equals,
    serves once more on all of it, and the query is read once. Memory beside the tables does not
    grow with the rows. Of several processes each has a share of the rows.

    Args:
        gallery: Rows to train on.
        query: Rows to test on.
        l2s: Values of lambda to try; a single one is taken as it is.
        holdout: Fraction of the gallery to choose it on.
        iterations: Most iterations of L-BFGS; it ends before where it has converged.
        seed: Seed of the split.
        compute: The device that computes gradients, and the processes that share the rows.

    Returns:
        ``logistic_top1`` on the query, with its 95% interval by a bootstrap over queries;
        ``logistic_l2``, the chosen lambda; and ``logistic_holdout_top1``, what it was chosen by,
        if there was a choice.

    Raises:
        ConfigError: If an option is out of range, or there are too few rows to hold some out.
        ValueError: If there is only one class.

    References:
        Kornblith et al., 2019, arXiv:1805.08974, sec. A.3; Radford et al., 2021, arXiv:2103.00020,
        appendix A.3: L-BFGS, and l2 chosen on validation.

    >>> labels = torch.arange(40) % 2
    >>> rows = torch.stack([labels + 0.1, 1.2 - labels], dim=1)
    >>> table = EmbeddingTable(embeddings=rows, labels=labels)
    >>> logistic(table, table)["logistic_top1"]
    1.0
    """
    _check(l2s, iterations, seed)
    inside(0, 1, "logistic", holdout=holdout)
    problem = _Problem.of(gallery, query, compute)
    order = torch.randperm(len(gallery.labels), generator=torch.Generator().manual_seed(seed))
    results, l2s = dict[str, float](), sorted(l2s, reverse=True)
    best = l2s[0]
    if len(l2s) > 1:
        held = int(len(order) * holdout)
        if held < 1:
            raise ConfigError(
                f"logistic.holdout is {holdout:g}, of {len(order)} rows none: raise it, or give "
                "one value of logistic.l2s"
            )
        found = [
            problem.correct(weights, gallery, order[:held]).double().mean().item()
            for weights in problem.path(gallery, order[held:], l2s, iterations, gain=ROUGH)
        ]
        best, results["logistic_holdout_top1"] = l2s[int(np.argmax(found))], max(found)
    (weights,) = problem.path(gallery, order, [best], iterations)
    right = problem.correct(weights, query, torch.arange(len(query.labels)))
    top1 = interval(right.double())
    names = ("logistic_top1", "logistic_top1_low", "logistic_top1_high")
    return dict(zip(names, top1, strict=True)) | results | {"logistic_l2": best}


def few_labels(
    gallery: EmbeddingTable,
    query: EmbeddingTable,
    *,
    per_class: Sequence[int] = (1, 2, 5, 10),
    draws: int = 5,
    k: int = 20,
    temperature: float = 0.07,
    l2: float = 0.01,
    iterations: int = 300,
    seed: int = 0,
    compute: Compute = ONE_PROCESS,
) -> dict[str, float]:
    """Accuracy of kNN and of logistic regression from a few labeled rows of each class.

    Args:
        gallery: Rows of which some are labeled. The mean and standard deviation of all of them
            standardize features for :func:`logistic`.
        query: Rows to classify.
        per_class: Numbers of labeled rows of a class; classes that have fewer give all.
        draws: How often they are drawn anew, 2 or more.
        k: Neighbors that vote in :func:`~ssl_dml.evaluation.knn.knn`, at most the labeled rows.
        temperature: Temperature of the votes, above 0.
        l2: Lambda of :func:`logistic`, as there are too few rows to choose it on.
        iterations: Most iterations of L-BFGS.
        seed: Seed of the first draw.
        compute: The device that computes, and the processes that share the draws.

    Returns:
        ``knn_top1_{n}_per_class`` and ``logistic_top1_{n}_per_class`` in [0, 1], means over draws
        with their 95% interval.

    Raises:
        ConfigError: If an option is out of range, or no class has so many rows.
        ValueError: If there is only one class.

    >>> rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> table = EmbeddingTable(embeddings=rows, labels=torch.tensor([0, 0, 1, 1]))
    >>> found = few_labels(table, table, per_class=[1])
    >>> found["knn_top1_1_per_class"], found["logistic_top1_1_per_class"]
    (1.0, 1.0)
    """
    from ssl_dml.data.splits import limit_per_class  # its package reads images

    _check([l2], iterations, seed, section="few_labels")
    at_least(2, "few_labels", draws=draws)
    at_least(1, "few_labels", k=k)
    positive("few_labels", temperature=temperature)
    own = Compute(device=compute.device)
    problem, results = _Problem.of(gallery, query, own), dict[str, float]()
    rows, asked = torch.arange(len(gallery.labels)), torch.arange(len(query.labels))
    largest = int(gallery.labels.bincount().max())
    for count in per_class:
        if not 1 <= count <= largest:
            raise ConfigError(
                f"few_labels.per_class must be from 1 to {largest}, the rows of the largest "
                f"class, got {count}"
            )
        found = torch.zeros(draws, 2, dtype=torch.double)
        for draw in range(draws)[compute.share]:
            kept = limit_per_class(gallery.labels, rows, count=count, seed=seed + draw)
            (weights,) = problem.path(gallery, kept, [l2], iterations)
            labeled = EmbeddingTable(
                embeddings=gallery.embeddings[kept], labels=gallery.labels[kept]
            )
            ((_, near),) = knn_correct(labeled, query, [min(k, len(kept))], [temperature], own)
            right = torch.stack([near, problem.correct(weights, query, asked)])
            found[draw] = right.double().mean(dim=1)
        names = [f"{name}_top1_{count}_per_class" for name in ("knn", "logistic")]
        every = compute.whole(found).tolist()
        results |= repeated([dict(zip(names, one, strict=True)) for one in every])
    return results


def _check(l2s: Sequence[float], iterations: int, seed: int, *, section: str = "logistic") -> None:
    if not l2s:
        raise ConfigError(f"{section}.l2s must have a value, got none")
    for l2 in l2s:
        positive(section, **{"l2s" if section == "logistic" else "l2": l2})
    at_least(1, section, iterations=iterations)
    check_seeds(section, seed=seed)


class _Problem(NamedTuple):
    """Standardized features of a gallery, and how many classes there are.

    Attributes:
        mean: Of each dimension.
        std: Of each dimension.
        classes: Number of classes of gallery and query.
        compute: The device, and the processes that share the rows.
    """

    mean: Float[Tensor, " dim"]
    std: Float[Tensor, " dim"]
    classes: int
    compute: Compute = ONE_PROCESS

    @classmethod
    def of(
        cls, gallery: EmbeddingTable, query: EmbeddingTable, compute: Compute = ONE_PROCESS
    ) -> "_Problem":
        if len(gallery.labels.unique()) == 1:
            raise ValueError("logistic regression needs at least 2 classes; the gallery has 1")
        std, mean = torch.std_mean(gallery.embeddings, dim=0)
        classes = int(max(gallery.labels.max(), query.labels.max())) + 1
        return cls(mean, std.clamp_min(1e-6), classes, compute)

    def features(self, table: EmbeddingTable, rows: Int[Tensor, " some"]) -> Float[Tensor, "..."]:
        rows = table.embeddings[rows].float() - self.mean
        return (rows / self.std).to(self.compute.device)

    def path(
        self,
        table: EmbeddingTable,
        rows: Int[Tensor, " rows"],
        l2s: Sequence[float],
        iterations: int,
        *,
        gain: float = FINE,
    ) -> Iterator[Float[Tensor, "dim1 classes"]]:
        """Weights for each l2, of which each starts at the last; the last row is the bias.

        They are found where an iteration lowers the objective by no more than ``gain`` of it.
        """
        shape = len(self.mean) + 1, self.classes
        flat, limits = np.zeros(shape[0] * shape[1]), {"maxiter": iterations, "gtol": 1e-6}
        for l2 in l2s:
            loss = partial(self._loss, table=table, rows=rows, l2=l2, shape=shape)
            flat = self._minimized(loss, flat, {**limits, "ftol": gain})
            yield torch.from_numpy(flat).float().view(shape)

    def _minimized(
        self, loss: Loss, start: Float[np.ndarray, " weights"], limits: dict[str, Any]
    ) -> Float[np.ndarray, " weights"]:
        """Where the loss is lowest.

        The first process chooses where it is evaluated next, and says so to the others: theirs
        might round otherwise, and end at another iteration.
        """
        from scipy.optimize import minimize  # half a second, which others need not wait

        if self.compute.group.count == 1:
            return minimize(loss, start, jac=True, method="L-BFGS-B", options=limits).x
        if self.compute.group.rank == 0:
            found = minimize(
                lambda flat: loss(broadcast_object(flat)), start, jac=True, method="L-BFGS-B",
                options=limits,
            )  # fmt: skip
            broadcast_object(None)
            return broadcast_object(found.x)
        while (flat := broadcast_object(None)) is not None:
            loss(flat)
        return broadcast_object(None)

    def _loss(
        self,
        flat: Float[np.ndarray, " weights"],
        table: EmbeddingTable,
        rows: Int[Tensor, " rows"],
        l2: float,
        shape: tuple[int, int],
    ) -> tuple[float, Float[np.ndarray, " weights"]]:
        """The objective and its gradient."""
        weights = torch.from_numpy(flat).float().view(shape).to(self.compute.device)
        sums = torch.zeros(flat.size + 1, dtype=torch.double)  # the gradient, then the value
        gradient = sums[:-1].view(shape)
        for part in rows[self.compute.share].split(CHUNK):
            x, labels = self.features(table, part), table.labels[part].to(weights.device)
            logs = (x @ weights[:-1] + weights[-1]).log_softmax(dim=1)
            own = torch.arange(len(part), device=weights.device), labels
            sums[-1] -= logs[own].cpu().double().sum() / len(rows)
            residuals = logs.exp()
            residuals[own] -= 1
            gradient[:-1] += (x.T @ residuals / len(rows)).cpu()
            gradient[-1] += (residuals.sum(dim=0) / len(rows)).cpu()
        sums = self.compute.whole(sums)
        penalty = l2 / 2 * float(np.square(flat[: -shape[1]]).sum())
        sums[: -shape[1] - 1] += l2 * torch.from_numpy(flat[: -shape[1]]).float()
        return float(sums[-1]) + penalty, sums[:-1].numpy()

    def correct(
        self,
        weights: Float[Tensor, "dim1 classes"],
        table: EmbeddingTable,
        rows: Int[Tensor, " rows"],
    ) -> Tensor:
        """Whether each row gets the highest logit for its class."""
        weights = weights.to(self.compute.device)
        found = [
            (self.features(table, part) @ weights[:-1] + weights[-1]).argmax(dim=1).cpu()
            for part in rows.split(CHUNK)
        ]
        return torch.cat(found) == table.labels[rows]
