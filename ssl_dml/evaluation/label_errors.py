"""Labels that may be wrong: those that neighbors and a cross-fitted linear probe both deny."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssl_dml.checks import at_least
from ssl_dml.evaluation.copies import nearest_others
from ssl_dml.tables import EmbeddingTable

CHUNK = 1 << 14
SEEN = 50_000  # rows that a probe is fitted to; more change little
STEPS = 60
TEMPERATURE = 0.1


@dataclass(frozen=True, kw_only=True)
class LabelErrors:
    """What neighbors and probe say of each label.

    Args:
        support: How much both believe in the given label, as a log-probability; low ones are
            doubtful.
        better: Class that both together prefer.
        denied: Whether each of both prefers another class.
        near: The neighbors that voted, from near to far.
    """

    support: Float[Tensor, " rows"]
    better: Int[Tensor, " rows"]
    denied: Bool[Tensor, " rows"]
    near: Int[Tensor, "rows k"]


def label_errors(
    table: EmbeddingTable,
    *,
    k: int = 20,
    near: tuple[Int[Tensor, "rows k"], Float[Tensor, "rows k"]] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> LabelErrors:
    """How well each label fits its embedding, told by others than the sample itself.

    A linear probe is fitted to all folds but one and asked about that one, and the ``k`` nearest
    other rows vote. The mean of both log-probabilities of the given label is its support; both
    must prefer another class to deny it.

    Args:
        table: Embeddings with a label each.
        k: Neighbors that vote, if they are still to be searched.
        near: What :func:`~ssl_dml.evaluation.copies.nearest_others` has found; None to search.
        folds: Parts of the rows; each is judged by a probe of the others.
        seed: Of the folds.

    References:
        Northcutt et al., 2021, arXiv:1911.00068, sec. 3: labels are judged by predictions of
        models that were not fitted to them.

    >>> labels = torch.arange(60) % 2
    >>> rows = F.one_hot(labels) + torch.linspace(0, 0.1, 120).view(60, 2)
    >>> labels[7] = 0  # of a sample of class 1
    >>> found = label_errors(EmbeddingTable(embeddings=rows, labels=labels), k=5)
    >>> found.denied.nonzero().tolist(), int(found.support.argmin()), int(found.better[7])
    ([[7]], 7, 1)
    """
    at_least(2, folds=folds, rows=len(table.labels))
    classes, labels = table.labels.unique(return_inverse=True)
    rows, cosines = near or nearest_others(table.embeddings, min(k, len(labels) - 1))
    x = table.embeddings.float()
    x = (x - x.mean(dim=0)) / x.std(dim=0).clamp_min(1e-6)
    x = F.pad(x / math.sqrt(x.shape[1]), (0, 1), value=1.0)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=generator)
    support, better = torch.empty(len(x)), torch.empty(len(x), dtype=torch.long)
    denied = torch.empty(len(x), dtype=torch.bool)
    for fold in range(folds):
        rest = torch.cat([order[i::folds] for i in range(folds) if i != fold])[:SEEN]
        weights = fitted(x[rest], labels[rest], len(classes))
        for own in order[fold::folds].split(CHUNK):
            probe = (x[own] @ weights).log_softmax(dim=1)
            votes = voted(cosines[own], labels[rows[own]], len(classes))
            both = (probe + votes) / 2
            given = labels[own]
            support[own] = both.gather(1, given[:, None])[:, 0]
            better[own] = both.scatter(1, given[:, None], -torch.inf).argmax(dim=1)
            denied[own] = (probe.argmax(dim=1) != given) & (votes.argmax(dim=1) != given)
    return LabelErrors(support=support, better=classes[better], denied=denied, near=rows)


def voted(
    cosines: Float[Tensor, "rows k"], labels: Int[Tensor, "rows k"], classes: int
) -> Float[Tensor, "rows classes"]:
    """Log of each class's part of the votes, of which one vote is shared by all classes."""
    weights = ((cosines - cosines[:, :1]) / TEMPERATURE).exp()
    votes = torch.full((len(labels), classes), 1 / classes)
    votes.scatter_add_(1, labels, weights)
    return (votes / votes.sum(dim=1, keepdim=True)).log()


def fitted(
    x: Float[Tensor, "rows dim"], labels: Int[Tensor, " rows"], classes: int, decay: float = 1e-4
) -> Float[Tensor, "dim classes"]:
    """Weights of logistic regression with a penalty on their squares, by L-BFGS."""
    weights = torch.zeros(x.shape[1], classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weights, labels) + decay * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    return weights.detach()
