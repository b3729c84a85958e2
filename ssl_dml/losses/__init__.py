"""Pure functions from embeddings to a scalar."""

from ssl_dml.losses.info_nce import info_nce_among, nt_xent
from ssl_dml.losses.nce import full_softmax, log_normaliser, nce

__all__ = ["full_softmax", "info_nce_among", "log_normaliser", "nce", "nt_xent"]
