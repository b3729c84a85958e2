"""Losses of contrastive learning and deep metric learning, each as a function and as a module.

The function, in lower case, computes: ``triplet(rows, labels, margin=0.2)``. The module, in
CamelCase, remembers the options and takes the same inputs: ``Triplet(margin=0.2)(rows, labels)``.
A :class:`PairLoss` takes rows and labels, and heads and YAML files can name it.
"""

from ssl_dml.losses.base import Loss, PairLoss
from ssl_dml.losses.circle import Circle, circle
from ssl_dml.losses.contrastive import Contrastive, contrastive
from ssl_dml.losses.cpc import CPC, cpc, cpc_scores
from ssl_dml.losses.dcl import DCL, dcl
from ssl_dml.losses.facility_location import FacilityLocation, facility_location
from ssl_dml.losses.hcl import HCL, hcl
from ssl_dml.losses.info_nce import InBatchInfoNCE, InfoNCE, in_batch_info_nce, info_nce
from ssl_dml.losses.lifted import GeneralizedLifted, Lifted, generalized_lifted, lifted
from ssl_dml.losses.log_ratio import DenseTriplet, LogRatio, dense_triplet, log_ratio
from ssl_dml.losses.multi_similarity import MultiSimilarity, multi_similarity
from ssl_dml.losses.n_pair import NPair, n_pair
from ssl_dml.losses.nce import NCE, FullSoftmax, full_softmax, log_normalizer, nce
from ssl_dml.losses.nt_xent import MultiViewNTXent, NTXent, multi_view_nt_xent, nt_xent
from ssl_dml.losses.seed import SEED, seed
from ssl_dml.losses.smooth_ap import SmoothAP, smooth_ap
from ssl_dml.losses.softmax_nce import SoftmaxNCE, softmax_nce
from ssl_dml.losses.supcon import SupCon, supcon
from ssl_dml.losses.tiles import log_sum_exp
from ssl_dml.losses.triplet import Triplet, triplet

__all__ = [
    "CPC",
    "DCL",
    "HCL",
    "NCE",
    "SEED",
    "Circle",
    "Contrastive",
    "DenseTriplet",
    "FacilityLocation",
    "FullSoftmax",
    "GeneralizedLifted",
    "InBatchInfoNCE",
    "InfoNCE",
    "Lifted",
    "LogRatio",
    "Loss",
    "MultiSimilarity",
    "MultiViewNTXent",
    "NPair",
    "NTXent",
    "PairLoss",
    "SmoothAP",
    "SoftmaxNCE",
    "SupCon",
    "Triplet",
    "circle",
    "contrastive",
    "cpc",
    "cpc_scores",
    "dcl",
    "dense_triplet",
    "facility_location",
    "full_softmax",
    "generalized_lifted",
    "hcl",
    "in_batch_info_nce",
    "info_nce",
    "lifted",
    "log_normalizer",
    "log_ratio",
    "log_sum_exp",
    "multi_similarity",
    "multi_view_nt_xent",
    "n_pair",
    "nce",
    "nt_xent",
    "seed",
    "smooth_ap",
    "softmax_nce",
    "supcon",
    "triplet",
]
