"""What a method remembers between steps."""

from ssl_dml.memory.bank import BankStorage, MemoryBank
from ssl_dml.memory.draws import draw_indices

__all__ = ["BankStorage", "MemoryBank", "draw_indices"]
