"""Margins: from cosines with class weights to logits."""

from ssl_dml.margins.ada_cos import AdaCos
from ssl_dml.margins.ada_face import AdaFace
from ssl_dml.margins.additive import CosFace, NormalizedSoftmax
from ssl_dml.margins.angular import ArcFace, BeyondPi, CombinedMargin
from ssl_dml.margins.base import Gradient, Margin, Margined, MarginInputs, whole_batch
from ssl_dml.margins.curricular_face import CurricularFace
from ssl_dml.margins.mag_face import MagFace
from ssl_dml.margins.sphere_face import SphereFace, psi

__all__ = [
    "AdaCos",
    "AdaFace",
    "ArcFace",
    "BeyondPi",
    "CombinedMargin",
    "CosFace",
    "CurricularFace",
    "Gradient",
    "MagFace",
    "Margin",
    "MarginInputs",
    "Margined",
    "NormalizedSoftmax",
    "SphereFace",
    "psi",
    "whole_batch",
]
