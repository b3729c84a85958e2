"""What a method remembers between steps."""

from ssl_dml.memory.bank import DEFAULT_STORAGE, BankStorage, MemoryBank
from ssl_dml.memory.draws import draw_indices

__all__ = ["DEFAULT_STORAGE", "BankStorage", "MemoryBank", "draw_indices"]
