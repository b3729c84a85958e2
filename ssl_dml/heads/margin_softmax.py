"""Softmax over class weights, with any margin."""

import math
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.checks import at_least, fraction, seeds
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
from ssl_dml.margins.base import own_values
from ssl_dml.memory import PartialFC
from ssl_dml.precision import full_precision, unit_rows
from ssl_dml.types import Embeddings, Labels, StepOutput

STD = 0.01


@final
class MarginSoftmax(Head):
    r"""Softmax cross-entropy on the cosines of embeddings with class weights.

    .. math:: -\frac1B \sum_i \log \frac{e^{l_{i y_i}}}{\sum_{c \in S} e^{l_{ic}}}

    where a margin turns cosines into the logits l. S is the set of all classes, or with
    ``sample_rate`` those of the batch and a random fraction of the others, new in each step
    (Partial FC). A step computes logits, gradients, momentum and weight decay of the classes in S
    only. The sample depends on ``seed`` and the step alone, so loss and gradients are the same on
    any number of processes.

    Class weights that are sampled or split over processes need a call of
    :func:`~ssl_dml.heads.attach_partial_fc` once, after building the optimizer.

    The log has ``own_cosine``, the mean cosine of an embedding with the weight of its class, and
    where classes are sampled ``classes``, their number in this step.

    >>> import torch
    >>> from ssl_dml.heads import MarginSoftmax
    >>> from ssl_dml.margins import NormalizedSoftmax
    >>> head = MarginSoftmax(2, 3, margin=NormalizedSoftmax())
    >>> _ = torch.nn.init.ones_(head.weight)
    >>> loss, _ = head(torch.eye(2), torch.tensor([0, 1]))  # log(3), as all classes are alike
    >>> round(loss.item(), 4)
    1.0986

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of classes, at least 2.
        margin: Turns cosines into logits.
        sub_centers: Weights of each class. An embedding is compared with the nearest one
            (Deng et al., 2020, "Sub-center ArcFace").
        sample_rate: Fraction of all classes that a step samples, above 0. The classes of the
            batch are added.
        sharded: Whether each of W processes keeps the weights of about a W-th of the classes, and
            compares them with the embeddings of all processes. Otherwise each keeps all.
        seed: Seed of the samples, from 0.

    Raises:
        ValueError: If an argument is outside its range; in the backward pass, if sampled or split
            class weights are not attached to an optimizer.

    References:
        An et al., 2021, arXiv:2010.05222; 2022, arXiv:2203.15565. Weights start as there, with a
        standard deviation of 0.01. insightface's second version has dense gradients, so its
        momentum moves rows that were not sampled.
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
        super().__init__(embedding_dim, num_classes)
        at_least(2, num_classes=num_classes)  # a softmax over one class is 1
        at_least(1, sub_centers=sub_centers)
        fraction(sample_rate=sample_rate)
        seeds(seed=seed)
        self.sample_rate, self.seed, self.margin = sample_rate, seed, margin
        shape, sampled = (sub_centers, embedding_dim), sample_rate < 1
        self.class_weights = PartialFC(
            num_classes, shape, std=STD, sampled=sampled, sharded=sharded
        )
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    @property
    def weight(self) -> Float[Tensor, "classes sub_centers dim"]:
        """Weights of all classes that this process keeps, of any length."""
        return self.class_weights.weight

    def forward(self, embeddings: Embeddings, labels: Labels) -> StepOutput:
        """Mean over this process's rows; with split class weights, over those of all."""
        check_labels(labels, self.num_classes)
        sharded, all_labels = self.class_weights.sharded, gather(labels)
        if sharded:
            embeddings, labels = gather_with_gradient(embeddings), all_labels
        sampled = self._sample(all_labels) if self.training and self.sample_rate < 1 else None
        cosines = _cosines(embeddings, self.class_weights(sampled))
        columns = self._columns(labels, sampled)
        inputs = self._inputs(cosines, columns, embeddings)
        logits, penalty = self.margin(cosines, inputs)
        cross_entropy = _split_cross_entropy if sharded else F.cross_entropy
        logs = {"own_cosine": inputs.cosines.mean()}
        if sampled is not None:
            logs["classes"] = torch.full((), float(len(sampled)), device=sampled.device)
        return StepOutput(cross_entropy(logits, columns) + penalty, logs)

    @torch.no_grad()
    def _sample(self, labels: Labels) -> Int[Tensor, " sampled"]:
        """Rows of the classes that take part, in order; ``labels`` are those of all processes."""
        # So many values with replacement have the wanted fraction of the classes on average.
        count = math.ceil(-self.num_classes * math.log1p(-self.sample_rate))
        key = self.step.new_full((1,), self.seed)
        drawn = counter_based_indices(key, self.step, count=count, high=self.num_classes)[0]
        self.step += 1
        found, owned = torch.cat([drawn, labels]).unique(), self.class_weights.owned
        if len(owned) == self.num_classes:
            return found
        return found[(found >= owned.start) & (found < owned.stop)] - owned.start

    def _columns(self, labels: Labels, sampled: Tensor | None) -> Int[Tensor, " rows"]:
        """Column of each row's class; -1 where another process has it."""
        owned = self.class_weights.owned
        own = labels - owned.start
        columns = own if sampled is None else torch.searchsorted(sampled, own)
        return columns.masked_fill((own < 0) | (own >= len(owned)), -1)

    @torch.no_grad()
    def _inputs(
        self, cosines: Float[Tensor, "rows columns"], columns: Tensor, embeddings: Embeddings
    ) -> MarginInputs:
        own = own_values(cosines, columns)
        with torch.enable_grad():
            norms = embeddings.to(cosines.dtype).norm(dim=1)
        if self.class_weights.sharded:
            own = sum_with_gradient(own)
            everyone = (own, norms.detach())
        else:
            everyone = (gather(own), gather(norms))
        return MarginInputs(columns, own, norms, *everyone, self.num_classes, process_group())


@full_precision
def _cosines(
    embeddings: Embeddings, weights: Float[Tensor, "classes centers dim"]
) -> Float[Tensor, "rows classes"]:
    """Cosine of each row with the nearest sub-center of each class."""
    rows, flat = unit_rows(embeddings), weights.flatten(0, 1)
    if len(rows) < flat.shape[1]:
        # Scaling the few products is cheaper than scaling the many weights.
        lengths = weights.norm(dim=2).clamp(min=1e-12)
        cosines = (rows @ flat.T).unflatten(1, lengths.shape) / lengths
    else:
        cosines = (rows @ unit_rows(flat).T).unflatten(1, weights.shape[:2])
    return cosines.amax(dim=2) if weights.shape[1] > 1 else cosines.squeeze(2)


def _split_cross_entropy(
    logits: Float[Tensor, "rows columns"], columns: Int[Tensor, " rows"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy of all rows, of a softmax over the columns of all processes.

    Every process has the same value. The mean of their gradients is that of the whole.
    """
    least = logits.new_full((len(logits), 1), torch.finfo(logits.dtype).min)
    highest = all_reduce_max(torch.cat([least, logits.detach()], dim=1).amax(dim=1))
    total = sum_with_gradient((logits - highest[:, None]).exp().sum(dim=1))
    own = sum_with_gradient(own_values(logits, columns))
    return (total.log() + highest - own).mean()
