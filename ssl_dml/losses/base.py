"""What the losses have in common: their module form, and the comparison of all pairs."""

import inspect
from abc import ABC
from collections.abc import Callable
from typing import Any, Literal, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ssl_dml import checks
from ssl_dml.distances import Distance, distances
from ssl_dml.pair_masks import pair_masks
from ssl_dml.types import Embeddings, LabeledEmbeddings, Labels, Triplets

Reduction = Literal["mean", "non_zero", "sum"]
PER_CALL = ("memory", "mined", "group")  # keyword arguments of a function that are no options
FLOOR = -1e30  # an exponent whose exponential is 0; infinity would make NaN of the gradient


class Loss(nn.Module):
    """Module form of a loss function: it remembers the options of the function.

    ``class MyLoss(Loss, function=my_loss)`` is all there is to write. The options are the
    keyword-only arguments of the function but :data:`PER_CALL`, with its types and defaults. Each
    becomes an attribute; an option that is a module, such as a learned distance, is trained with
    the rest of the model.

    Args:
        **options: Options of the function.

    Raises:
        TypeError: If an option is unknown, or one without a default is missing.

    Attributes:
        function: Computes the loss from tensors.
        options: Names, types and defaults of the options.
    """

    function: Callable[..., Tensor]
    options: inspect.Signature

    def __init_subclass__(cls, *, function: Callable[..., Tensor] | None = None) -> None:
        super().__init_subclass__()
        if function is None:
            return
        arguments = inspect.signature(function).parameters.values()
        options = [p for p in arguments if p.kind is p.KEYWORD_ONLY and p.name not in PER_CALL]
        cls.function, cls.options = staticmethod(function), inspect.Signature(options)

        def constructor(self: Loss, **given: object) -> None:
            super(cls, self).__init__(**given)

        # What parsers of configurations read.
        itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        signature = cls.options.replace(parameters=[itself, *options])
        constructor.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
        cls.__init__ = constructor

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - as the function takes them
        super().__init__()
        try:
            given = self.options.bind(**options)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: {error}") from None
        given.apply_defaults()
        for name, value in given.arguments.items():
            if isinstance(value, int | float):
                checks.finite(**{name: value})
            setattr(self, name, value)

    def forward(self, *inputs: Any, **more: Any) -> Float[Tensor, ""]:  # noqa: ANN401
        """Compute the loss.

        Args:
            *inputs: Positional arguments of the function.
            **more: Keyword arguments that are no options, such as the processes of a batch.
        """
        options = {name: getattr(self, name) for name in self.options.parameters}
        return self.function(*inputs, **options, **more)

    def extra_repr(self) -> str:
        """The options, for ``print``."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.options.parameters)


class PairLoss(Loss, ABC):
    """A loss that compares the rows of a batch with each other.

    A loss of your own is a function with the arguments of :meth:`forward` and its options, and a
    class that names it. Both :class:`~ssl_dml.heads.PairHead` and YAML files can use it at once.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses.base import PairLoss, average, compare
        >>> def pull(embeddings, labels, *, scale=1.0, memory=None, mined=None):
        ...     distances, positive, _ = compare(embeddings, labels, memory, mined)
        ...     return scale * average(distances, positive)
        >>> class Pull(PairLoss, function=pull):
        ...     pass
        >>> Pull(scale=2.0)(torch.tensor([[0.0], [3.0]]), torch.tensor([7, 7]))
        tensor(6.)
    """

    @final
    def forward(
        self,
        embeddings: Embeddings,
        labels: Labels,
        memory: LabeledEmbeddings | None = None,
        mined: Triplets | None = None,
    ) -> Float[Tensor, ""]:
        """Compute the loss of a whole batch; 0 with zero gradients if it has no pair to compare.

        Args:
            embeddings: Rows of the batch.
            labels: Class of each row.
            memory: Embeddings of earlier batches, further positives and negatives.
            mined: The triplets of a miner; None for all pairs or triplets.
        """
        return super().forward(embeddings, labels, memory=memory, mined=mined)


def compare(
    embeddings: Embeddings,
    labels: Labels,
    memory: LabeledEmbeddings | None,
    mined: Triplets | None,
    distance: Distance = "euclidean",
) -> tuple[
    Float[Tensor, "batch references"],
    Bool[Tensor, "batch references"],
    Bool[Tensor, "batch references"],
]:
    """Distances of a batch to itself and a memory, and the masks of its positives and negatives.

    Args:
        embeddings: Rows of the batch, the anchors.
        labels: Class of each row.
        memory: Further references; None for the batch alone.
        mined: Triplets whose pairs are in the masks; None for all pairs.
        distance: How distances are measured.
    """
    pairs = pair_masks(embeddings, labels, memory)
    _, _, positive, negative = pairs.mined(mined)
    return distances(pairs.anchors, pairs.references, kind=distance), positive, negative


def average(values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean of the values in a mask; 0 with zero gradients if the mask is empty."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def log_sum_where(
    values: Float[Tensor, "rows columns"], mask: Bool[Tensor, "rows columns"], *, dim: int = 1
) -> Float[Tensor, " rest"]:
    """Logarithm of the sum of exponentials in a mask; about -1e30 where the mask is empty."""
    values = values.masked_fill(~mask, -torch.inf)
    return values.masked_fill(~mask.any(dim=dim, keepdim=True), FLOOR).logsumexp(dim=dim)
