"""An index of embeddings on disk: searched by faiss, exactly or not; added to and removed from."""

from ssl_dml.index.index import Index, build_index

__all__ = ["Index", "build_index"]
