"""Softmax cross-entropy on logits: the neck is a linear classifier."""

from typing import final

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml.checks import in_range
from ssl_dml.heads.base import Head, check_labels
from ssl_dml.precision import full_precision
from ssl_dml.types import ConfigError, Embeddings, Labels, StepOutput


@final
class CrossEntropy(Head):
    r"""Mean cross-entropy of a softmax over the values of an embedding, one for each class.

    With ``neck: linear`` the neck is a linear classifier, and the saved model one that
    :func:`~ssl_dml.evaluation.classifier.classifier` measures: a linear probe if the backbone is
    frozen, else fine-tuning as classification. The log has ``accuracy`` on the augmented batch.

    >>> import torch
    >>> from ssl_dml.heads import CrossEntropy
    >>> logits = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    >>> loss, logs = CrossEntropy(2, 2)(logits, torch.tensor([0, 1]))
    >>> round(loss.item(), 4), logs["accuracy"]  # (log 2 + log(1 + 1 / e)) / 2
    (0.5032, tensor(1.))

    Args:
        embedding_dim: Number of logits; those beyond the classes belong to none.
        num_classes: Number of classes.
        smoothing: Part of the target that is spread evenly over all logits, from 0 to 1.

    Raises:
        ConfigError: If there are fewer logits than classes.

    References:
        Szegedy et al., 2016, arXiv:1512.00567, sec. 7 (smoothing).
    """

    def __init__(self, embedding_dim: int, num_classes: int, *, smoothing: float = 0.0) -> None:
        super().__init__(embedding_dim, num_classes)
        in_range(0, 1, smoothing=smoothing)
        self.smoothing = smoothing
        if embedding_dim < num_classes:
            raise ConfigError(
                f"embedding_dim is {embedding_dim}, and head CrossEntropy takes a value for each "
                f"of {num_classes} classes: set embedding_dim to {num_classes} and neck to linear"
            )

    def forward(self, embeddings: Embeddings, labels: Labels) -> StepOutput:
        """Mean over this process's rows."""
        check_labels(labels, self.num_classes)
        accuracy = (embeddings.argmax(dim=1) == labels).float().mean()
        loss = _cross_entropy(embeddings, labels, self.smoothing)
        return StepOutput(loss, {"accuracy": accuracy})


@full_precision
def _cross_entropy(logits: Embeddings, labels: Labels, smoothing: float) -> Float[Tensor, ""]:
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)
