"""Which of many keys belongs to a query, as a classification."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.losses.precision import full_precision


@full_precision
def info_nce_among(
    queries: Float[Tensor, "batch dim"],
    keys: Float[Tensor, "keys dim"],
    *,
    itself: Int[Tensor, " batch"],
    positives: Int[Tensor, "batch positives"],
    temperature: float = 0.1,
) -> Float[Tensor, ""]:
    r"""Cross-entropy of each query's positives against all keys but the query itself.

    .. math:: \frac1B \sum_i \Big( \log \sum_{j \ne \mathrm{itself}_i} e^{q_i \cdot k_j / \tau}
        - \frac1P \sum_{p} q_i \cdot k_p / \tau \Big)

    Rows are L2-normalised here. This is the form that several processes need: each has its own
    queries and all keys.

    Args:
        queries: Rows that are classified.
        keys: Candidates, among them the queries.
        itself: Where each query stands among the keys; that key is left out.
        positives: Where its positives stand.
        temperature: Softmax temperature, dimensionless, above 0.

    Returns:
        Mean over queries, in nats; ``log(keys - 1)`` when all keys are equally similar.

    Raises:
        ValueError: If ``temperature`` is not positive.

    References:
        van den Oord et al., 2018, arXiv:1807.03748, eq. 4; over several positives
        Khosla et al., 2020, arXiv:2004.11362, eq. 2.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
    logits = queries @ keys.T / temperature
    own = logits.gather(1, positives).mean(dim=1)
    others = logits.scatter(1, itself[:, None], -torch.inf)
    return (others.logsumexp(dim=1) - own).mean()


@full_precision
def nt_xent(
    first: Float[Tensor, "batch dim"],
    second: Float[Tensor, "batch dim"],
    *,
    temperature: float = 0.1,
) -> Float[Tensor, ""]:
    r"""Normalised temperature-scaled cross-entropy over the 2N views of N samples.

    Each view's positive is the other view of its sample; the 2N - 2 views of other samples are
    its negatives.

    Args:
        first: One view of each sample.
        second: ``second[i]`` is another view of the sample of ``first[i]``.
        temperature: Softmax temperature, dimensionless, above 0.

    Returns:
        Mean over the 2N views, in nats; ``log(2N - 1)`` when all are equally similar, and 0 for
        a batch of one sample, which has no negatives.

    Raises:
        ValueError: If ``temperature`` is not positive.

    References:
        Chen et al., 2020, arXiv:2002.05709, eq. 1.
    """
    views = torch.cat([first, second])
    rows = torch.arange(len(views), device=views.device)
    positives = rows.roll(len(first))[:, None]
    return info_nce_among(views, views, itself=rows, positives=positives, temperature=temperature)
