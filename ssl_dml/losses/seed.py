"""SEED: a student learns how similar a teacher finds a sample to those of a queue."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ssl_dml import checks
from ssl_dml.losses.base import Loss
from ssl_dml.losses.tiles import TileSize, log_sum_exp
from ssl_dml.precision import full_precision, unit_rows


@full_precision
def seed(
    student: Float[Tensor, "batch dim"],
    teacher: Float[Tensor, "batch dim"],
    keys: Float[Tensor, "keys dim"],
    *,
    temperature: float = 0.2,
    teacher_temperature: float = 0.01,
    tile_size: TileSize = None,
) -> Float[Tensor, ""]:
    r"""Cross-entropy between the similarities of a teacher and of a student to the same keys.

    .. math:: -\frac1B \sum_i \sum_j p^T_{ij} \log p^S_{ij}, \qquad
        p^T_i = \mathrm{softmax}_j(t_i \cdot k_j / \tau_T), \quad
        p^S_i = \mathrm{softmax}_j(s_i \cdot k_j / \tau_S)

    The keys of sample :math:`i` are those of the queue and its own :math:`t_i`. Rows are
    normalized here; no gradient reaches the teacher and the keys.

    Args:
        student: Embeddings that learn.
        teacher: The teacher's embeddings of the same samples.
        keys: The teacher's embeddings of other samples, such as a queue; may have no rows.
        temperature: :math:`\tau_S`, above 0.
        teacher_temperature: :math:`\tau_T`, above 0; small ones look at the nearest keys only.
        tile_size: Side of the tiles of the similarity matrix; ``auto`` suits the device, None
            computes it at once.

    Returns:
        Mean over the batch, in nats; 0 without keys.

    Raises:
        ValueError: If a temperature is not positive.

    Examples:
        A student to whom all keys are alike pays ``log(1 + keys)``:

        >>> import torch
        >>> from ssl_dml.losses import seed
        >>> seed(torch.ones(2, 3), torch.ones(2, 3), torch.ones(9, 3))
        tensor(2.3026)

    References:
        Fang et al., 2021, arXiv:2101.04731, eq. 3 to 6.
    """
    checks.positive(temperature=temperature, teacher_temperature=teacher_temperature)
    student = unit_rows(student)
    teacher, keys = unit_rows(teacher.detach()), unit_rows(keys.detach())
    own = (student * teacher).sum(dim=1) / temperature
    if not len(keys):
        return (own - own).mean()
    others = log_sum_exp(student, keys, scale=1 / temperature, tile_size=tile_size)
    # The teacher's mean key stands for its probabilities, as the student's logits are linear.
    seen = log_sum_exp(teacher, keys, scale=1 / teacher_temperature, tile_size=tile_size)
    weight = torch.sigmoid((teacher * teacher).sum(dim=1) / teacher_temperature - seen)[:, None]
    rest = F.scaled_dot_product_attention(
        teacher[None], keys[None], keys[None], scale=1 / teacher_temperature
    )[0]
    mean_key = weight * teacher + (1 - weight) * rest
    expected = (student * mean_key).sum(dim=1) / temperature
    return (torch.logaddexp(own, others) - expected).mean()


@final
class SEED(Loss, function=seed):
    """Module form of :func:`seed`.

    Args:
        temperature: Of the student, above 0.
        teacher_temperature: Of the teacher, above 0.
        tile_size: At least 1, or ``auto``; None computes all similarities at once.

    Examples:
        >>> import torch
        >>> from ssl_dml.losses import SEED
        >>> SEED(temperature=0.1)(torch.ones(2, 3), torch.ones(2, 3), torch.ones(9, 3))
        tensor(2.3026)
    """
