"""Queues, memory banks and class weights, which methods and heads keep between steps."""

from ssl_dml.memory.bank import BankStorage, MemoryBank
from ssl_dml.memory.cross_batch import CrossBatchMemory
from ssl_dml.memory.partial_fc import (
    PartialFC,
    attach_partial_fc,
    ddp_ignored_names,
    gradient_norm,
)
from ssl_dml.memory.queue import Queue
from ssl_dml.memory.sharded import cut_rows, split_rows

__all__ = [
    "BankStorage",
    "CrossBatchMemory",
    "MemoryBank",
    "PartialFC",
    "Queue",
    "attach_partial_fc",
    "cut_rows",
    "ddp_ignored_names",
    "gradient_norm",
    "split_rows",
]
