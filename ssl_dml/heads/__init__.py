"""Supervised objectives on embeddings."""

from ssl_dml.heads.base import Head
from ssl_dml.heads.centre import CentreLoss
from ssl_dml.heads.class_weights import ClassWeights
from ssl_dml.heads.continuous import DenseTriplet, LogRatio
from ssl_dml.heads.finetuner import Finetuner
from ssl_dml.heads.pair import PairHead
from ssl_dml.heads.proxies import ProxyAnchor, ProxyNCA, SoftTriple
from ssl_dml.heads.weighted_sum import WeightedSum

__all__ = [
    "CentreLoss",
    "ClassWeights",
    "DenseTriplet",
    "Finetuner",
    "Head",
    "LogRatio",
    "PairHead",
    "ProxyAnchor",
    "ProxyNCA",
    "SoftTriple",
    "WeightedSum",
]
