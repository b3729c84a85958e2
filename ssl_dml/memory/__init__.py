"""What a method remembers between steps."""

from ssl_dml.memory.bank import MemoryBank
from ssl_dml.memory.draws import draw_indices
from ssl_dml.memory.queue import Queue

__all__ = ["MemoryBank", "Queue", "draw_indices"]
