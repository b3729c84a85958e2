"""Pure functions from embeddings to a scalar."""

from ssl_dml.losses.base import PairLoss
from ssl_dml.losses.circle import Circle, circle
from ssl_dml.losses.contrastive import Contrastive, contrastive
from ssl_dml.losses.cpc import Negatives, cpc, cpc_scores
from ssl_dml.losses.dcl import dcl
from ssl_dml.losses.facility_location import FacilityLocation, facility_location
from ssl_dml.losses.hcl import hcl
from ssl_dml.losses.info_nce import (
    check_temperature,
    in_batch_info_nce,
    info_nce,
    multi_view_nt_xent,
    nt_xent,
)
from ssl_dml.losses.lifted import Lifted, lifted
from ssl_dml.losses.log_ratio import dense_triplet, log_ratio
from ssl_dml.losses.multi_similarity import MultiSimilarity, multi_similarity
from ssl_dml.losses.n_pair import NPair, n_pair, tuplet
from ssl_dml.losses.nce import full_softmax, log_normalizer, nce
from ssl_dml.losses.smooth_ap import SmoothAP, smooth_ap
from ssl_dml.losses.softmax_nce import softmax_nce
from ssl_dml.losses.supcon import supcon
from ssl_dml.losses.tiles import TILE, log_sum_exp
from ssl_dml.losses.triplet import Triplet, triplet
from ssl_dml.precision import full_precision, unit_rows

__all__ = [
    "TILE",
    "Circle",
    "Contrastive",
    "FacilityLocation",
    "Lifted",
    "MultiSimilarity",
    "NPair",
    "Negatives",
    "PairLoss",
    "SmoothAP",
    "Triplet",
    "check_temperature",
    "circle",
    "contrastive",
    "cpc",
    "cpc_scores",
    "dcl",
    "dense_triplet",
    "facility_location",
    "full_precision",
    "full_softmax",
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
    "smooth_ap",
    "softmax_nce",
    "supcon",
    "triplet",
    "tuplet",
    "unit_rows",
]
