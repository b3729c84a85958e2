"""What a method remembers between steps."""

from ssl_dml.memory.bank import BankStorage, MemoryBank
from ssl_dml.memory.draws import draw_indices
from ssl_dml.memory.queue import Queue

__all__ = ["BankStorage", "MemoryBank", "Queue", "draw_indices"]
