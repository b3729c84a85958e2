"""From a folder of unlabeled images to an embedding that can be searched and trusted."""

from importlib.metadata import version

__version__ = version("ssl_dml")
