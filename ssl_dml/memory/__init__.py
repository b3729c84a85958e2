"""What a method remembers between steps."""

from ssl_dml.memory.bank import DEFAULT_STORAGE, BankStorage, MemoryBank
from ssl_dml.memory.draws import draw_indices
from ssl_dml.memory.queue import Queue

__all__ = ["DEFAULT_STORAGE", "BankStorage", "MemoryBank", "Queue", "draw_indices"]
