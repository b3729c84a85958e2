"""Miners: which pairs and triplets of a batch count in a loss."""

from ssl_dml.mining.bands import All, Easy, Hard, SemiHard
from ssl_dml.mining.base import Miner
from ssl_dml.mining.multi_similarity import MultiSimilarityMiner
from ssl_dml.mining.single import BatchHard, DistanceWeighted, FaceNet

__all__ = [
    "All",
    "BatchHard",
    "DistanceWeighted",
    "Easy",
    "FaceNet",
    "Hard",
    "Miner",
    "MultiSimilarityMiner",
    "SemiHard",
]
