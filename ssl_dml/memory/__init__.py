"""What a method remembers between steps."""

from ssl_dml.memory.bank import MemoryBank
from ssl_dml.memory.draws import draw_indices

__all__ = ["MemoryBank", "draw_indices"]
