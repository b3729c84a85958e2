"""Pure functions from embeddings to a scalar."""

from ssl_dml.losses.cpc import Negatives, cpc, cpc_scores
from ssl_dml.losses.info_nce import info_nce_among, nt_xent
from ssl_dml.losses.nce import full_softmax, log_normaliser, nce
from ssl_dml.losses.precision import full_precision, unit_rows

__all__ = [
    "Negatives",
    "cpc",
    "cpc_scores",
    "full_precision",
    "full_softmax",
    "info_nce_among",
    "log_normaliser",
    "nce",
    "nt_xent",
    "unit_rows",
]
