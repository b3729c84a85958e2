"""SphereFace: a factor on the angle, introduced step by step."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_dml.checks import at_least
from ssl_dml.margins.base import Cosines, Margin, Margined, MarginInputs, angles, change_own, plain


def psi(cosines: Float[Tensor, " own"], factor: int) -> Float[Tensor, " own"]:
    """``(-1)^k cos(m θ) - 2 k`` with ``k = floor(m θ / π)``, which falls from θ = 0 to θ = π.

    >>> import torch
    >>> psi(torch.tensor([1.0, -1.0]), 4)
    tensor([ 1., -7.])

    Args:
        cosines: cos θ.
        factor: m, from 1. k is at most m - 1 and has no gradient.

    Returns:
        1 at θ = 0 and ``1 - 2 m`` at θ = π.
    """
    before, multiple = torch.ones_like(cosines), cosines  # Chebyshev's polynomials T_0 and T_1
    for _ in range(factor - 1):
        before, multiple = multiple, 2 * cosines * multiple - before
    k = (factor * angles(cosines) / math.pi).floor().clamp(max=factor - 1)
    return (1 - 2 * (k % 2)) * multiple - 2 * k


@final
class SphereFace(Margin):
    r"""A-Softmax: ``|x| cos θ``, and for a row's own class ``|x| (λ cos θ + ψ(θ)) / (1 + λ)``.

    Rows keep their length. λ falls from a large value, so training starts as a plain softmax:
    :math:`\lambda = \max(\lambda_{min}, \lambda_{start} (1 + \gamma \, t)^{-p})` at batch t. Where
    k batches are accumulated for a step, a k-th of γ gives the same schedule. The defaults are
    those of the authors' Caffe prototxt. clcarwin's PyTorch code starts at 1,500 with γ = 0.1,
    and pytorch-metric-learning has no annealing (λ = 0).

    >>> import torch
    >>> from ssl_dml.margins import SphereFace, whole_batch
    >>> margin = SphereFace(factor=2, lambda_start=0.0, lambda_min=0.0)
    >>> cosines = torch.tensor([[0.6, 0.1]])
    >>> margin(cosines, whole_batch(cosines, torch.tensor([0]))).logits  # 2 * 0.6² - 1
    tensor([[-0.2800,  0.1000]])

    Args:
        factor: m, a whole number from 1; 4 in the paper.
        lambda_start: :math:`\lambda_{start}`, at least 0.
        lambda_min: :math:`\lambda_{min}`, at least 0.
        gamma: γ, how fast λ falls in a batch, at least 0.
        power: p, at least 0.

    Raises:
        ValueError: If an argument is outside its range.

    References:
        Liu et al., 2017, arXiv:1704.08063, eq. 7; annealing: the authors' code.
    """

    step: Tensor

    def __init__(
        self,
        *,
        factor: int = 4,
        lambda_start: float = 1000.0,
        lambda_min: float = 5.0,
        gamma: float = 0.12,
        power: float = 1.0,
    ) -> None:
        super().__init__()
        at_least(1, factor=factor)
        at_least(0, lambda_start=lambda_start, lambda_min=lambda_min, gamma=gamma, power=power)
        self.factor, self.lambda_start, self.lambda_min = factor, lambda_start, lambda_min
        self.gamma, self.power = gamma, power
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, cosines: Cosines, inputs: MarginInputs) -> Margined:
        """Change own cosines and multiply all by the lengths; in training, count the batch."""
        weight = self.annealing()

        def changed(own: Tensor) -> Tensor:
            return (weight * own + psi(own, self.factor)) / (1 + weight)

        if self.training:
            self.step += 1
        changed_cosines = change_own(cosines, inputs.columns, changed)
        return plain(inputs.norms[:, None] * changed_cosines)

    def annealing(self) -> Float[Tensor, ""]:
        """λ at this batch."""
        fallen = self.lambda_start * (1 + self.gamma * self.step) ** -self.power
        return fallen.clamp(min=self.lambda_min)
