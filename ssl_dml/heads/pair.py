"""A head without parameters: losses on pairs and triplets of a batch."""

from copy import deepcopy
from typing import final

import torch
from torch import Tensor

from ssl_dml.checks import at_least
from ssl_dml.distributed import gather, gather_with_gradient
from ssl_dml.heads.base import Head, check_labels
from ssl_dml.losses import PairLoss
from ssl_dml.memory import CrossBatchMemory
from ssl_dml.mining import Miner
from ssl_dml.pair_masks import pair_masks
from ssl_dml.precision import unit_rows
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, StepOutput


@final
class PairHead(Head):
    """Any loss on pairs or triplets, with any miner and a memory of earlier batches.

    Every process computes the loss of the whole batch, so mining and comparing do not depend on
    the number of processes. A batch teaches nothing if none of its rows has both a positive and a
    negative: its loss and gradients are 0, and ``batches_without_pairs`` in the log counts it.

    >>> import torch
    >>> from ssl_dml.heads import PairHead
    >>> from ssl_dml.losses import Triplet
    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> head = PairHead(2, 2, loss=Triplet(margin=0.2))
    >>> head(rows, torch.tensor([0, 0, 1, 1])).loss  # positives at 0, negatives at √2
    tensor(0.)
    >>> head(rows, torch.tensor([0, 1, 0, 1])).loss  # the mean of √2 - 0 + 0.2 and √2 - √2 + 0.2
    tensor(0.9071)

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of classes. Labels may exceed it.
        loss: Loss to minimize.
        miner: Selects pairs or triplets; None for all.
        normalize: Whether to scale rows to length 1 first. Margins in the literature are for
            such rows. N-pair is for rows as they are.
        memory_size: Rows of earlier batches to compare the batch with as well; 0 for none.
            The batch's own rows have gradient on both sides.
        memory_warmup_batches: Number of batches before the memory is used, since early
            embeddings drift.

    Raises:
        ValueError: If an argument of the loss or the miner is outside its range.

    References:
        Memory: Wang et al., 2020, arXiv:1912.06798.
    """

    batches: Tensor
    without_pairs: Tensor

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        loss: PairLoss,
        miner: Miner | None = None,
        normalize: bool = True,
        memory_size: int = 0,
        memory_warmup_batches: int = 0,
    ) -> None:
        super().__init__(embedding_dim, num_classes)
        at_least(0, memory_size=memory_size, memory_warmup_batches=memory_warmup_batches)
        self.loss, self.miner, self.normalize = loss, miner, normalize
        # Raises for a wrong argument before training; the copy leaves the state as it is.
        rows, labels = torch.eye(4, max(2, embedding_dim)), torch.tensor([0, 0, 1, 1])
        trial = LabeledEmbeddings(rows, labels) if memory_size else None
        deepcopy(self)._compare(rows, labels, trial)
        self.memory = CrossBatchMemory(memory_size, embedding_dim) if memory_size else None
        self.memory_warmup_batches = memory_warmup_batches
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.register_buffer("without_pairs", torch.zeros((), dtype=torch.long))

    def forward(self, embeddings: Embeddings, labels: Labels) -> StepOutput:
        """Loss of the whole batch, on every process."""
        rows = unit_rows(embeddings) if self.normalize else embeddings
        rows, labels = gather_with_gradient(rows), gather(labels)
        check_labels(labels, None)
        memory = self._earlier()
        loss, logs = self._compare(rows, labels, memory)
        pairs = pair_masks(rows.detach(), labels, memory)
        valid = (pairs.positive.any(dim=1) & pairs.negative.any(dim=1)).any()
        if self.training:
            self.batches += 1
            self.without_pairs += ~valid
            if self.memory is not None:
                self.memory.enqueue(rows, labels)
        logs["batches_without_pairs"] = self.without_pairs.float()
        return StepOutput(loss.where(valid, 0.0), logs)

    def _earlier(self) -> LabeledEmbeddings | None:
        if self.memory is None:
            return None
        embeddings, labels = self.memory.rows()
        used = self.batches >= self.memory_warmup_batches
        return LabeledEmbeddings(embeddings, labels.where(used, -1))

    def _compare(
        self, rows: Embeddings, labels: Labels, memory: LabeledEmbeddings | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        mined = None if self.miner is None else self.miner(rows.detach(), labels, memory)
        loss = self.loss(rows, labels, memory, mined)
        if mined is None:
            return loss, {}
        return loss, {"mined_triplets": (mined.high - mined.low).sum().float()}
