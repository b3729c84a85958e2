"""The contract of losses on pairs and triplets, and how their parts are averaged."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets

Reduction = Literal["mean", "non_zero", "sum"]


class PairLoss(nn.Module, ABC):
    """A loss that compares the rows of a batch with each other."""

    @abstractmethod
    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        memory: LabeledEmbeddings | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a whole batch; 0 with zero gradients where nothing can be compared.

        Args:
            embeddings: Rows.
            labels: Class of each.
            memory: Further rows that they are compared with.
            mined: What counts; None for everything.
        """


def average(values: Float[Tensor, "*shape"], counted: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean of what counts; 0 with zero gradients if nothing does."""
    return torch.where(counted, values, 0.0).sum() / counted.sum().clamp(min=1)
