"""What a method remembers between steps."""

from ssl_dml.memory.bank import BankStorage, MemoryBank
from ssl_dml.memory.cross_batch import CrossBatchMemory
from ssl_dml.memory.queue import Queue
from ssl_dml.memory.row_table import RowTable, names_in_tables

__all__ = ["BankStorage", "CrossBatchMemory", "MemoryBank", "Queue", "RowTable", "names_in_tables"]
