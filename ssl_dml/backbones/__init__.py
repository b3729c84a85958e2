"""Backbones that turn images or sequences into features; projectors; saving and loading."""

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.chunked import Chunked
from ssl_dml.backbones.edges import EdgeBackbone
from ssl_dml.backbones.embedder import Embedder, Neck, layers
from ssl_dml.backbones.image import TimmBackbone
from ssl_dml.backbones.initial import Initial, initial
from ssl_dml.backbones.log_mel import LogMelBackbone
from ssl_dml.backbones.patches import PatchBackbone
from ssl_dml.backbones.projectors import mlp
from ssl_dml.backbones.saved import load, save
from ssl_dml.backbones.sequence import SequenceBackbone

__all__ = [
    "Backbone",
    "Chunked",
    "EdgeBackbone",
    "Embedder",
    "Initial",
    "LogMelBackbone",
    "Neck",
    "PatchBackbone",
    "SequenceBackbone",
    "TimmBackbone",
    "initial",
    "layers",
    "load",
    "mlp",
    "save",
]
