"""Pure functions from embeddings to a scalar."""

from ssl_dml.losses.info_nce import info_nce_among, nt_xent
from ssl_dml.losses.nce import full_softmax, log_normaliser, nce
from ssl_dml.losses.precision import full_precision, unit_rows
from ssl_dml.losses.softmax_nce import softmax_nce

__all__ = [
    "full_precision",
    "full_softmax",
    "info_nce_among",
    "log_normaliser",
    "nce",
    "nt_xent",
    "softmax_nce",
    "unit_rows",
]
