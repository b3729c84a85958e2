"""Worker of memory/test_sharded: saves a bank that is split over processes, or restores one.

Usage: bank_checkpoint.py save|load FOLDER, with RANK and WORLD_SIZE in the environment.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from ssl_dml.memory import BankStorage, MemoryBank
from ssl_dml.training import Checkpoints

SIZE = 11


def main(what: str, folder: Path) -> None:
    """Write a checkpoint of a known table, or all rows that one gives."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    store = f"file://{folder}/store_{what}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    bank = MemoryBank(SIZE, 3, storage=BankStorage(sharded=True))
    parts = {"model": nn.ModuleDict({"bank": bank})}
    checkpoints = Checkpoints(folder / "checkpoints", keep=1)
    if what == "save":
        rows = torch.arange(SIZE * 3, dtype=torch.float32).view(SIZE, 3).sin()
        rows = nn.functional.normalize(rows, dim=1)
        bank.embeddings.copy_(rows[bank.owned.start : bank.owned.stop])
        checkpoints.save(5, parts, {})
    else:
        checkpoints.resume(parts, {}, say=lambda _: None)
        torch.save(bank.rows(torch.arange(SIZE)), folder / f"rows_{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()  # gloo's threads must not outlive the interpreter


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
