"""What was measured several times, as means with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtrit


def repeated(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means of independent repetitions, each with its 95% interval by Student's t.

    It says where the mean of many more repetitions would be. It does not widen for samples that
    all repetitions share.

    Args:
        found: The measures of each repetition, such as a seed or an episode; two or more.

    Returns:
        Each measure's mean, and ``NAME_low`` and ``NAME_high`` beside it.

    >>> {name: round(value, 3) for name, value in repeated([{"nmi": 0.5}, {"nmi": 0.7}]).items()}
    {'nmi': 0.6, 'nmi_low': -0.671, 'nmi_high': 1.871}
    """
    results = dict[str, float]()
    for name in found[0]:
        values = np.array([one[name] for one in found])
        half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / len(values) ** 0.5
        mean = float(values.mean())
        results |= {name: mean, f"{name}_low": mean - half, f"{name}_high": mean + half}
    return {name: float(value) for name, value in results.items()}
