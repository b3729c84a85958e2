"""A weighted sum of several heads."""

from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import nn

from ssl_dml.checks import at_least
from ssl_dml.heads.base import Head
from ssl_dml.types import ContinuousLabels, Embeddings, Labels, StepOutput


@final
class WeightedSum(Head):
    """Adds the losses of several heads, each with a weight, and logs each of them.

    >>> import torch
    >>> from ssl_dml.heads import CenterLoss, ProxyNCA, WeightedSum
    >>> heads = {"proxies": ProxyNCA, "center": CenterLoss}
    >>> head = WeightedSum(2, 3, heads=heads, weights={"center": 0.5})
    >>> loss, logs = head(torch.eye(2), torch.tensor([0, 1]))
    >>> sorted(logs), logs["center_loss"]
    (['center_loss', 'proxies_loss'], tensor(1.))
    >>> torch.equal(loss, logs["proxies_loss"] + 0.5 * logs["center_loss"])
    True

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of classes.
        heads: Builders of the heads, by name.
        weights: Weights of the heads, by name, at least 0; 1 for those that are left out.

    Raises:
        ValueError: If there is no head, a name is not an identifier, a weight is negative or names
            no head, or some heads take classes and others continuous labels.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        heads: Mapping[str, Callable[[int, int], Head]],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(embedding_dim, num_classes)
        weights = weights or {}
        if not heads:
            raise ValueError("heads must name at least one head")
        for name in weights:
            if name not in heads:
                raise ValueError(f"weights names {name}, and there is no such head")
        at_least(0, **{f"weights.{name}": weight for name, weight in weights.items()})
        for name in heads:
            if not name.isidentifier() or hasattr(nn.ModuleDict(), name):
                raise ValueError(f"heads cannot be named {name!r}: choose another identifier")
        self.heads = nn.ModuleDict(
            {name: build(embedding_dim, num_classes) for name, build in heads.items()}
        )
        kinds = {name: head.continuous for name, head in self.heads.items()}
        if len(set(kinds.values())) > 1:
            found = ", ".join(name for name, continuous in kinds.items() if continuous)
            raise ValueError(
                f"heads of a sum must take the same labels; only {found} takes continuous ones"
            )
        self.continuous = any(kinds.values())
        self.weights = {name: weights.get(name, 1.0) for name in heads}

    def forward(self, embeddings: Embeddings, labels: Labels | ContinuousLabels) -> StepOutput:
        """The weighted sum; the log has the loss and the log of each head under its name."""
        outputs = {name: head(embeddings, labels) for name, head in self.heads.items()}
        losses = [self.weights[name] * output.loss for name, output in outputs.items()]
        logs = {f"{name}_loss": output.loss.detach() for name, output in outputs.items()}
        for name, output in outputs.items():
            logs |= {f"{name}_{key}": value for key, value in output.logs.items()}
        return StepOutput(torch.stack(losses).sum(), logs)
