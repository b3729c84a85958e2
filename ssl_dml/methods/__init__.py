"""Self-supervised methods, one file each."""

from ssl_dml.methods.base import BankMethod, Method, RunInfo
from ssl_dml.methods.cpc import CPC, CPCImages
from ssl_dml.methods.dcl import DCL
from ssl_dml.methods.feature_alignment import FeatureAlignment
from ssl_dml.methods.hcl import HCL
from ssl_dml.methods.moco import MoCo
from ssl_dml.methods.moco_v3 import MoCoV3
from ssl_dml.methods.nested import nested
from ssl_dml.methods.nnclr import NNCLR
from ssl_dml.methods.npid import NPID
from ssl_dml.methods.pirl import PIRL
from ssl_dml.methods.seed import SEED
from ssl_dml.methods.simclr import SimCLR
from ssl_dml.methods.supcon import SupCon

__all__ = [
    "CPC",
    "DCL",
    "HCL",
    "NNCLR",
    "NPID",
    "PIRL",
    "SEED",
    "BankMethod",
    "CPCImages",
    "FeatureAlignment",
    "Method",
    "MoCo",
    "MoCoV3",
    "RunInfo",
    "SimCLR",
    "SupCon",
    "nested",
]
