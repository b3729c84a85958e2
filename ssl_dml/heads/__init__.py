"""Heads: supervised objectives on embeddings."""

from ssl_dml.heads.base import Head
from ssl_dml.heads.center import CenterLoss
from ssl_dml.heads.continuous import DenseTriplet, LogRatio
from ssl_dml.heads.cross_entropy import CrossEntropy
from ssl_dml.heads.margin_softmax import MarginSoftmax
from ssl_dml.heads.nested import Nested
from ssl_dml.heads.pair import PairHead
from ssl_dml.heads.proxies import ProxyAnchor, ProxyNCA, SoftTriple
from ssl_dml.heads.weighted_sum import WeightedSum
from ssl_dml.memory import attach_partial_fc

__all__ = [
    "CenterLoss",
    "CrossEntropy",
    "DenseTriplet",
    "Head",
    "LogRatio",
    "MarginSoftmax",
    "Nested",
    "PairHead",
    "ProxyAnchor",
    "ProxyNCA",
    "SoftTriple",
    "WeightedSum",
    "attach_partial_fc",
]
