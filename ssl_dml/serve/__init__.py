"""A local page that searches an index by images."""

from ssl_dml.serve.app import Site, build_app
from ssl_dml.serve.guard import Access, is_loopback, new_token
from ssl_dml.serve.running import address, listen, serve

__all__ = ["Access", "Site", "address", "build_app", "is_loopback", "listen", "new_token", "serve"]
