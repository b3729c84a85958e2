"""How far features have moved from others of the same samples, without labels."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ssl_dml.evaluation.health import evenly_spaced

ROWS, NEIGHBORS = 2000, 10


def nearest_neighbors(features: Float[Tensor, "rows dim"]) -> Int[Tensor, "found near"]:
    """The 10 nearest neighbors by cosine of up to 2,000 evenly spaced rows among each other.

    >>> nearest_neighbors(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    tensor([[1, 2],
            [0, 2],
            [1, 0]])
    """
    rows = F.normalize(features[evenly_spaced(len(features), ROWS)].double(), dim=1)
    cosines = (rows @ rows.T).fill_diagonal_(-torch.inf)
    return cosines.topk(min(NEIGHBORS, len(rows) - 1), dim=1).indices


def neighbor_overlap(before: Int[Tensor, "rows near"], after: Int[Tensor, "rows near"]) -> float:
    """Fraction of nearest neighbors that are the same, in any order; 1 where nothing changed.

    >>> neighbor_overlap(torch.tensor([[1, 2], [0, 2]]), torch.tensor([[2, 1], [3, 0]]))
    0.75
    """
    return (before[:, :, None] == after[:, None, :]).any(dim=2).double().mean().item()
