"""Losses in the form of public codes, where that is not the form of the paper."""

import torch
import torch.nn.functional as F

from ssl_dml.losses import PairLoss
from ssl_dml.losses.base import average, compare


def plain_contrastive(rows, labels, *, margin=1.0, non_zero=False, memory=None, mined=None):
    """Distances without squares, as in pytorch-metric-learning; its mean is over values above 0."""
    found, positive, negative = compare(rows, labels, memory, mined)
    far = F.relu(margin - found)
    if non_zero:
        positive, negative = positive & (found > 0), negative & (far > 0)
    return average(found, positive) + average(far, negative)


class PlainContrastive(PairLoss, function=plain_contrastive):
    pass


def dense_smooth_ap(rows, labels, *, temperature=0.01, count_query):
    """The cube of the batch; the query may be one of its own positives, at a cosine of 1."""
    unit = F.normalize(rows, dim=1)
    cosines = unit @ unit.T
    ranked = torch.ones_like(cosines, dtype=torch.bool)
    positive = labels[:, None] == labels
    has_positive = positive.sum(dim=1) > 1
    if not count_query:
        ranked.fill_diagonal_(False)
        positive = positive & ranked
    # before[a, p, j]: whether j ranks before p for the query a
    before = ((cosines[:, None, :] - cosines[:, :, None]) / temperature).sigmoid()
    before = before * ranked[:, None] * ~torch.eye(len(rows), dtype=torch.bool)
    hits = 1 + (before * positive[:, None]).sum(dim=2)
    precision = (hits / (1 + before.sum(dim=2))).where(positive, 0.0)
    means = precision.sum(dim=1) / positive.sum(dim=1).clamp(min=1)
    return 1 - means[has_positive].mean()
