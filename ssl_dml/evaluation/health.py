"""Health of a representation without labels: does it use its dimensions, or has it collapsed?"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

ROWS = 2048


def health(embeddings: Float[Tensor, "rows dim"]) -> dict[str, float]:
    r"""RankMe, uniformity and spread of up to 2,048 rows, evenly spaced.

    Returns:
        ``rankme``: the effective rank, :math:`\exp(-\sum p \log p)` of the normalized singular
        values, from 1 to ``min(rows, dim)``. ``uniformity``:
        :math:`\log E\, e^{-2 \lVert x - y \rVert^2}` of unit rows, in nats; 0 when all are equal,
        lower when they spread. ``spread``: mean standard deviation of the dimensions of unit rows,
        times the root of ``dim``; 1 when rows are spread over the sphere, 0 when collapsed.

    References:
        Garrido et al., 2023, arXiv:2210.02885; Wang and Isola, 2020, arXiv:2005.10242;
        Chen and He, 2021, arXiv:2011.10566, sec. 4.1.

    >>> {name: round(value, 3) for name, value in health(torch.eye(4)).items()}
    {'rankme': 4.0, 'uniformity': -4.0, 'spread': 1.0}
    """
    rows = embeddings[evenly_spaced(len(embeddings), ROWS)].double()
    unit = F.normalize(rows, dim=1)
    singular = torch.linalg.svdvals(rows)
    fraction = singular / singular.sum().clamp_min(1e-12) + 1e-7
    return {
        "rankme": (-(fraction * fraction.log()).sum()).exp().item(),
        "uniformity": (-2 * torch.pdist(unit).square()).exp().mean().log().item(),
        "spread": unit.std(dim=0).mean().item() * unit.shape[1] ** 0.5,
    }


def evenly_spaced(count: int, most: int) -> Int[Tensor, " rows"]:
    """Up to ``most`` evenly spaced indices of ``count`` rows, with the first and the last.

    >>> evenly_spaced(9, 3)
    tensor([0, 4, 8])
    """
    return torch.linspace(0, count - 1, min(most, count)).round().long()


def alignment(first: Float[Tensor, "rows dim"], second: Float[Tensor, "rows dim"]) -> float:
    r"""Mean :math:`\lVert x - y \rVert^2` of unit embeddings of two views of a sample.

    It is 0 when views coincide and 2 when they are unrelated.

    References:
        Wang and Isola, 2020, arXiv:2005.10242.

    >>> alignment(torch.eye(2), torch.eye(2).flip(0))
    2.0
    """
    first, second = F.normalize(first, dim=1), F.normalize(second, dim=1)
    return (first - second).square().sum(dim=1).mean().item()
