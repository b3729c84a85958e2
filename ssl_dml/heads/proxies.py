"""Proxies: learned vectors that stand for classes in losses on pairs."""

import math
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ssl_dml.checks import at_least, positive
from ssl_dml.distributed import gather, gather_with_gradient
from ssl_dml.heads.base import Head, check_labels
from ssl_dml.precision import full_precision, unit_rows
from ssl_dml.types import Embeddings, Labels, StepOutput


@final
class ProxyNCA(Head):
    r"""Proxy-NCA++: a softmax over squared distances to the proxies of all classes.

    .. math:: -\log \frac{e^{-\|x - p_y\|^2 / T}}{\sum_c e^{-\|x - p_c\|^2 / T}}

    on rows and proxies of length 1. The first Proxy-NCA leaves the own proxy out of the
    denominator and has T = 1; pytorch-metric-learning's class of that name keeps it.

    >>> import torch
    >>> from ssl_dml.heads import ProxyNCA
    >>> head = ProxyNCA(2, 3)
    >>> _ = torch.nn.init.ones_(head.proxies)  # all classes are alike
    >>> round(head(torch.eye(2), torch.tensor([0, 1])).loss.item(), 4)  # log(3)
    1.0986

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of proxies.
        temperature: T, above 0; 1/9 in the paper.

    Raises:
        ValueError: If ``temperature`` is not positive.

    References:
        Teh et al., 2020, arXiv:2004.01113, eq. 6.
    """

    def __init__(self, embedding_dim: int, num_classes: int, *, temperature: float = 1 / 9) -> None:
        super().__init__(embedding_dim, num_classes)
        positive(temperature=temperature)
        self.temperature = temperature
        self.proxies = _proxies(num_classes, embedding_dim)

    def forward(self, embeddings: Embeddings, labels: Labels) -> StepOutput:
        """Mean over this process's rows."""
        check_labels(labels, self.num_classes)
        return StepOutput(self._loss(embeddings, self.proxies, labels), {})

    @full_precision
    def _loss(self, embeddings: Embeddings, proxies: Tensor, labels: Labels) -> Float[Tensor, ""]:
        # Squared distances of unit rows are 2 - 2 cos; the constant does not change a softmax.
        cosines = unit_rows(embeddings) @ unit_rows(proxies).T
        return F.cross_entropy(2 * cosines / self.temperature, labels)


@final
class ProxyAnchor(Head):
    r"""Proxies as anchors, each compared with all rows of the batch.

    .. math:: \frac{1}{|P^+|} \sum_{p \in P^+} \log \Big( 1 + \sum_{x \in X_p^+}
        e^{-\alpha (s(x, p) - \delta)} \Big) + \frac{1}{|P|} \sum_p \log \Big( 1 +
        \sum_{x \in X_p^-} e^{\alpha (s(x, p) + \delta)} \Big)

    on cosines s. :math:`P^+` are the proxies of classes in the batch.

    >>> import torch
    >>> from ssl_dml.heads import ProxyAnchor
    >>> head = ProxyAnchor(2, 2)
    >>> _ = torch.nn.init.eye_(head.proxies)
    >>> round(head(torch.eye(2), torch.tensor([0, 1])).loss.item(), 4)  # rows on their proxies
    3.24
    >>> round(math.log1p(math.exp(32 * (0 + 0.1))), 4)
    3.24

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of proxies.
        margin: :math:`\delta`, at least 0.
        scale: :math:`\alpha`, above 0.

    Raises:
        ValueError: If an argument is outside its range.

    References:
        Kim et al., 2020, arXiv:2003.13911, eq. 4.
    """

    def __init__(
        self, embedding_dim: int, num_classes: int, *, margin: float = 0.1, scale: float = 32.0
    ) -> None:
        super().__init__(embedding_dim, num_classes)
        at_least(0, margin=margin)
        positive(scale=scale)
        self.margin, self.scale = margin, scale
        self.proxies = _proxies(num_classes, embedding_dim)

    def forward(self, embeddings: Embeddings, labels: Labels) -> StepOutput:
        """Loss of the whole batch, on every process."""
        rows, labels = gather_with_gradient(unit_rows(embeddings)), gather(labels)
        check_labels(labels, self.num_classes)
        return StepOutput(self._loss(rows, self.proxies, labels), {})

    @full_precision
    def _loss(self, rows: Embeddings, proxies: Tensor, labels: Labels) -> Float[Tensor, ""]:
        cosines = rows @ unit_rows(proxies).T
        own = labels[:, None] == torch.arange(len(proxies), device=labels.device)
        one = cosines.new_zeros(1, len(proxies))
        pull = (-self.scale * (cosines - self.margin)).masked_fill(~own, -torch.inf)
        push = (self.scale * (cosines + self.margin)).masked_fill(own, -torch.inf)
        pulls, pushes = (torch.cat([one, side]).logsumexp(dim=0) for side in (pull, push))
        return pulls.sum() / own.any(dim=0).sum().clamp(min=1) + pushes.mean()


@final
class SoftTriple(Head):
    r"""Several centers for each class, among which a row chooses softly.

    .. math:: S_c = \sum_k \frac{e^{s(x, w_{ck}) / \gamma}}{\sum_l e^{s(x, w_{cl}) / \gamma}}
        s(x, w_{ck}), \quad -\log \frac{e^{\lambda (S_y - \delta)}}{e^{\lambda (S_y - \delta)} +
        \sum_{c \ne y} e^{\lambda S_c}}

    on cosines s, plus :math:`\tau / 2` times the mean distance between centers of the same class,
    which merges centers that are not needed.

    >>> import torch
    >>> from ssl_dml.heads import SoftTriple
    >>> head = SoftTriple(2, 3, centers=2, margin=0.0)
    >>> _ = torch.nn.init.ones_(head.proxies)  # all classes are alike
    >>> round(head(torch.eye(2), torch.tensor([0, 1])).loss.item(), 4)  # log(3)
    1.0986

    Args:
        embedding_dim: Dimension of an embedding.
        num_classes: Number of classes.
        centers: Number of centers of each class, from 1.
        scale: :math:`\lambda`, above 0.
        temperature: :math:`\gamma`, above 0.
        margin: :math:`\delta`, at least 0.
        weight: :math:`\tau`, at least 0; pytorch-metric-learning's has no such term by default.

    Raises:
        ValueError: If an argument is outside its range.

    References:
        Qian et al., 2019, arXiv:1909.05235, eq. 8 and 9, with its K = 10, 20, 0.1, 0.01 and 0.2.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        centers: int = 10,
        scale: float = 20.0,
        temperature: float = 0.1,
        margin: float = 0.01,
        weight: float = 0.2,
    ) -> None:
        super().__init__(embedding_dim, num_classes)
        at_least(1, centers=centers)
        positive(scale=scale, temperature=temperature)
        at_least(0, margin=margin, weight=weight)
        self.centers, self.scale, self.temperature = centers, scale, temperature
        self.margin, self.weight = margin, weight
        self.proxies = _proxies(num_classes * centers, embedding_dim)

    def forward(self, embeddings: Embeddings, labels: Labels) -> StepOutput:
        """Mean over this process's rows, plus the distances between centers."""
        check_labels(labels, self.num_classes)
        loss = self._loss(embeddings, self.proxies, labels)
        spread = _spread(self.proxies if self.weight else self.proxies.detach(), self.centers)
        return StepOutput(loss + self.weight / 2 * spread, {"center_distance": spread.detach()})

    @full_precision
    def _loss(self, embeddings: Embeddings, proxies: Tensor, labels: Labels) -> Float[Tensor, ""]:
        # Classes come last, since a softmax over a short last axis is slow.
        split = unit_rows(proxies).unflatten(0, (-1, self.centers))
        by_center = split.transpose(0, 1).flatten(0, 1)
        cosines = (unit_rows(embeddings) @ by_center.T).unflatten(1, (self.centers, -1))
        similarity = ((cosines / self.temperature).softmax(dim=1) * cosines).sum(dim=1)
        own = torch.zeros_like(similarity).scatter_(1, labels[:, None], self.margin)
        return F.cross_entropy(self.scale * (similarity - own), labels)


def _proxies(number: int, dim: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(number, dim) / math.sqrt(dim))


@full_precision
def _spread(proxies: Tensor, centers: int) -> Float[Tensor, ""]:
    """Mean distance between centers of the same class, with a finite slope where they meet."""
    if centers == 1:
        return proxies.new_zeros(())
    rows = unit_rows(proxies).unflatten(0, (-1, centers))
    first, second = torch.triu_indices(centers, centers, 1, device=proxies.device)
    cosines = (rows @ rows.mT)[:, first, second]
    return (2 - 2 * cosines).clamp(min=1e-10).sqrt().mean()
