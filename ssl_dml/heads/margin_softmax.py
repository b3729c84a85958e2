"""A weight vector for every class, under a softmax with any margin."""

import math
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.counter_rng import counter_based_indices
from ssl_dml.distributed import (
    all_reduce_max,
    gather,
    gather_with_gradient,
    process_group,
    sum_with_gradient,
)
from ssl_dml.heads.base import Head, check_labels
from ssl_dml.margins import Margin, MarginInputs
from ssl_dml.memory import RowTable
from ssl_dml.precision import full_precision, unit_rows
from ssl_dml.types import Embeddings, Labels, StepOutput

STD = 0.01


@final
class MarginSoftmax(Head):
    r"""Softmax cross-entropy on cosines with class weights, whole, split or sampled.

    .. math:: -\frac1B \sum_i \log \frac{e^{l_{i y_i}}}{\sum_{c \in S} e^{l_{ic}}}

    where a margin makes the logits l of the cosines. S are all classes, or those of the batch with
    a fraction of the others that each step draws anew (Partial FC). Only the rows of S are touched:
    by logits, gradient, momentum and weight decay. What is drawn is a function of ``seed`` and the
    step, so loss and gradients are those of one process on any number of them, at any rate.

    It logs ``own_cosine``, the mean cosine of a row with its class, and where classes are
    sampled ``classes``, how many a step has.

    Args:
        embedding_dim: Dimension of a row.
        num_classes: Number of classes.
        margin: What is made of the cosines.
        sub_centers: Weights of a class, of which a row has the nearest one (Deng et al., 2020,
            "Sub-center ArcFace").
        sample_rate: Fraction of the classes that a step draws, above 0; those of the batch are
            added.
        sharded: Whether each process keeps the weights of about a W-th of the classes, and the
            rows of all processes meet them there; otherwise each keeps all.
        seed: Number that the draws depend on, from 0.

    Raises:
        ValueError: If there are fewer than 2 classes, or an argument is outside its range.

    References:
        An et al., 2021, arXiv:2010.05222; 2022, arXiv:2203.15565. Weights start as there, with a
        standard deviation of 0.01. insightface's second version has dense gradients, so that its
        momentum moves rows that were not drawn.
    """

    step: Tensor

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        margin: Margin,
        sub_centers: int = 1,
        sample_rate: float = 1.0,
        sharded: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if num_classes < 2:  # noqa: PLR2004 - a softmax over one class is 1
            raise ValueError(f"class weights need 2 classes or more, got {num_classes}")
        if sub_centers < 1:
            raise ValueError(f"sub_centers must be at least 1, got {sub_centers}")
        if not 0 < sample_rate <= 1:
            raise ValueError(f"sample_rate must be above 0 and at most 1, got {sample_rate}")
        self.num_classes, self.sample_rate, self.seed = num_classes, sample_rate, seed
        self.margin = margin
        shape = (sub_centers, embedding_dim)
        self.table = RowTable(num_classes, shape, std=STD, sharded=sharded)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, embeddings: Embeddings, labels: Labels) -> StepOutput:
        """Mean over this process's rows; with weights that are split, over those of all."""
        check_labels(labels, self.num_classes)
        everyone = gather(labels)
        if self.table.sharded:
            embeddings, labels = gather_with_gradient(embeddings), everyone
        opened = self._draw(everyone) if self.training else None
        weights = self.table.open(opened)
        cosines = _cosines(embeddings, weights)
        columns = self._columns(labels, opened)
        targets = self._targets(cosines, columns, embeddings)
        logits, penalty = self.margin(cosines, targets, process_group())
        cross_entropy = _split_cross_entropy if self.table.sharded else F.cross_entropy
        logs = {"own_cosine": targets.cosines.mean()}
        if opened is not None:
            logs["classes"] = opened.new_tensor(len(opened)).float()
        return StepOutput(cross_entropy(logits, columns) + penalty, logs)

    @torch.no_grad()
    def _draw(self, everyone: Labels) -> Int[Tensor, " opened"] | None:
        """The rows of this process that take part, in order; None for all of them."""
        if self.sample_rate == 1:
            return None
        # So many draws with replacement find the wanted fraction on average.
        count = math.ceil(-self.num_classes * math.log1p(-self.sample_rate))
        what_for = self.step.new_full((1,), self.seed)
        drawn = counter_based_indices(what_for, self.step, count=count, high=self.num_classes)[0]
        self.step += 1
        found = torch.cat([drawn, everyone]).unique()
        own = (found >= self.table.owned.start) & (found < self.table.owned.stop)
        return found[own] - self.table.owned.start

    def _columns(self, labels: Labels, opened: Tensor | None) -> Int[Tensor, " rows"]:
        """Column of each row's class; -1 where another process has it."""
        own = labels - self.table.owned.start
        here = (own >= 0) & (own < len(self.table.owned))
        if opened is None:
            return own.masked_fill(~here, -1)
        return torch.searchsorted(opened, own).masked_fill(~here, -1)

    @torch.no_grad()
    def _targets(
        self, cosines: Float[Tensor, "rows columns"], columns: Tensor, embeddings: Embeddings
    ) -> MarginInputs:
        rows = (columns >= 0).nonzero()[:, 0]
        own = cosines.new_zeros(len(columns)).index_put((rows,), cosines[rows, columns[rows]])
        with torch.enable_grad():
            norms = embeddings.to(cosines.dtype).norm(dim=1)
        if self.table.sharded:
            own = sum_with_gradient(own)
            return MarginInputs(columns, own, norms, own, norms.detach(), self.num_classes)
        return MarginInputs(columns, own, norms, gather(own), gather(norms), self.num_classes)


@full_precision
def _cosines(
    embeddings: Embeddings, weights: Float[Tensor, "classes centers dim"]
) -> Float[Tensor, "rows classes"]:
    """Cosine of each row with the nearest center of each class."""
    rows, flat = unit_rows(embeddings), weights.flatten(0, 1)
    if len(rows) < flat.shape[1]:
        # Then products are fewer than weights, of which unit ones would be another matrix.
        lengths = weights.norm(dim=2).clamp(min=1e-12)
        cosines = (rows @ flat.T).unflatten(1, lengths.shape) / lengths
    else:
        cosines = (rows @ unit_rows(flat).T).unflatten(1, weights.shape[:2])
    return cosines.amax(dim=2) if weights.shape[1] > 1 else cosines.squeeze(2)


def _split_cross_entropy(
    logits: Float[Tensor, "rows columns"], columns: Int[Tensor, " rows"]
) -> Float[Tensor, ""]:
    """Mean over rows of the softmax cross-entropy over the columns of all processes.

    The same value on each; their mean has the gradient of the whole.
    """
    least = logits.new_full((len(logits), 1), torch.finfo(logits.dtype).min)
    highest = all_reduce_max(torch.cat([least, logits.detach()], dim=1).amax(dim=1))
    total = sum_with_gradient((logits - highest[:, None]).exp().sum(dim=1))
    rows = (columns >= 0).nonzero()[:, 0]
    own = logits.new_zeros(len(logits)).index_put((rows,), logits[rows, columns[rows]])
    return (total.log() + highest - sum_with_gradient(own)).mean()
