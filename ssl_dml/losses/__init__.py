"""Pure functions from embeddings to a scalar."""

from ssl_dml.losses.cpc import Negatives, cpc, cpc_scores
from ssl_dml.losses.dcl import dcl
from ssl_dml.losses.hcl import hcl
from ssl_dml.losses.info_nce import (
    check_temperature,
    in_batch_info_nce,
    info_nce,
    multi_view_nt_xent,
    nt_xent,
)
from ssl_dml.losses.nce import full_softmax, log_normaliser, nce
from ssl_dml.losses.precision import full_precision, unit_rows
from ssl_dml.losses.softmax_nce import softmax_nce
from ssl_dml.losses.supcon import supcon
from ssl_dml.losses.tiles import TILE, log_sum_exp

__all__ = [
    "TILE",
    "Negatives",
    "check_temperature",
    "cpc",
    "cpc_scores",
    "dcl",
    "full_precision",
    "full_softmax",
    "hcl",
    "in_batch_info_nce",
    "info_nce",
    "log_normaliser",
    "log_sum_exp",
    "multi_view_nt_xent",
    "nce",
    "nt_xent",
    "softmax_nce",
    "supcon",
    "unit_rows",
]
