"""AdaCos: a scale from the number of classes and the angles."""

import math
from typing import Literal, final

import torch
from torch import Tensor

from ssl_dml.margins.base import Cosines, Margin, Margined, MarginInputs, angles, change_own, plain


@final
class AdaCos(Margin):
    r"""``s cos θ`` without a margin, with a scale s that keeps the softmax sensitive to angles.

    Fixed, :math:`s = \sqrt2 \ln(C - 1)` for C classes. Dynamic, before each training step,

    .. math:: s \leftarrow \frac{\ln B}{\cos \min(\pi / 4, \theta_{med})}, \quad
        B = \frac1N \sum_i \sum_{k \ne y_i} e^{s \cos \theta_{ik}}

    with the median of the angles of rows with their own classes, over the whole batch on all
    processes.

    >>> import torch
    >>> from ssl_dml.margins import AdaCos, whole_batch
    >>> margin, cosines = AdaCos(scale="fixed"), torch.ones(1, 10)
    >>> round(margin(cosines, whole_batch(cosines, torch.tensor([0]))).logits[0, 0].item(), 4)
    3.1073
    >>> round(math.sqrt(2) * math.log(10 - 1), 4)
    3.1073

    Args:
        scale: ``dynamic`` or ``fixed``.

    Raises:
        ValueError: At the first step, if there are fewer than 3 classes: the scale would be 0.

    References:
        Zhang et al., 2019, arXiv:1905.00292, eq. 12 and 14. The median of an even number is the
        mean of the middle two; ``torch.median`` and public codes take the lower one.
    """

    scale: Tensor

    def __init__(self, *, scale: Literal["dynamic", "fixed"] = "dynamic") -> None:
        super().__init__()
        self.dynamic = scale == "dynamic"
        self.register_buffer("scale", torch.tensor(math.nan))

    def forward(self, cosines: Cosines, inputs: MarginInputs) -> Margined:
        """Update the scale, in training, and multiply the cosines by it."""
        classes = inputs.num_classes
        if classes < 3:  # noqa: PLR2004 - ln(2 - 1) is 0
            raise ValueError(f"AdaCos needs 3 classes or more, got {classes}")
        fixed = math.sqrt(2) * math.log(classes - 1)
        self.scale.copy_(torch.where(self.scale.isnan(), fixed, self.scale))
        if self.training and self.dynamic:
            self._adapt(cosines.detach(), inputs)
        # A copy, since the next step may change the scale before this one goes backward.
        return plain(self.scale.clone() * cosines)

    def _adapt(self, cosines: Cosines, inputs: MarginInputs) -> None:
        # Less 1, the largest cosine, so that no exponential overflows.
        terms = (self.scale * (cosines - 1)).exp()
        terms = change_own(terms, inputs.columns, torch.zeros_like)
        others = inputs.group.all_reduce_sum(terms.sum()) / len(inputs.all_cosines)
        # torch's quantile goes through float64, which not every device has.
        ordered = angles(inputs.all_cosines).sort().values
        median = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        self.scale.copy_((others.log() + self.scale) / median.clamp(max=math.pi / 4).cos())
