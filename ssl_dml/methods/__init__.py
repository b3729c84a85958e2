"""Self-supervised methods, one file each."""

from ssl_dml.methods.base import Method, Task
from ssl_dml.methods.npid import NPID
from ssl_dml.methods.pirl import PIRL
from ssl_dml.methods.simclr import SimCLR

__all__ = ["NPID", "PIRL", "Method", "SimCLR", "Task"]
