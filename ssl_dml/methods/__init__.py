"""Self-supervised methods, one file each."""

from ssl_dml.methods.base import Method, Task
from ssl_dml.methods.cpc import CPC, CPCImages
from ssl_dml.methods.npid import NPID
from ssl_dml.methods.simclr import SimCLR

__all__ = ["CPC", "NPID", "CPCImages", "Method", "SimCLR", "Task"]
