"""Worker of test_methods: a few steps of a method on this process's part of fixed batches.

Usage: method_steps.py NAME FOLDER, with RANK and WORLD_SIZE in the environment. Writes the losses,
the gradients after DDP's mean, and the state after the last step.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ssl_dml.backbones import TimmBackbone
from ssl_dml.backbones.norms import synchronise_batch_norm
from ssl_dml.memory import BankStorage
from ssl_dml.methods import NPID, BankMethod, SimCLR, Task
from ssl_dml.types import ImageSpec

INSTANCES, BATCH, STEPS = 40, 8, 3
TASK = Task(
    num_instances=INSTANCES,
    batch_size=BATCH,
    num_batches=STEPS,
    labels=torch.arange(INSTANCES) % 5,
)
# A method that is added is listed here once.
METHODS = {
    "simclr": lambda backbone: SimCLR(backbone, TASK, output_dim=8),
    "simclr_four_views": lambda backbone: SimCLR(backbone, TASK, output_dim=8),
    "npid": lambda backbone: NPID(backbone, TASK, negatives=16, output_dim=8),
    "npid_average_proximal": lambda backbone: NPID(
        backbone, TASK, negatives=16, normaliser="average", proximal=3.0, output_dim=8
    ),
    "npid_drawn_for_the_batch": lambda backbone: NPID(
        backbone, TASK, negatives=16, draw_for="batch", normaliser="batch", layers=2, output_dim=8
    ),
    "npid_sharded": lambda backbone: NPID(
        backbone,
        TASK,
        negatives=16,
        storage=BankStorage(dtype="bfloat16", device="cpu", sharded=True),
        output_dim=8,
    ),
    "npid_full_softmax": lambda backbone: NPID(backbone, TASK, negatives=None, output_dim=8),
    "npid_given_normaliser": lambda backbone: NPID(
        backbone, TASK, negatives=16, normaliser=1000.0, output_dim=8
    ),
}


def main(name: str, folder: Path) -> None:
    """Run the steps and write what they did."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/store_{world}", rank=rank, world_size=world
        )
    torch.manual_seed(0)
    spec = ImageSpec(channels=1, size=8, mean=(0.0,), std=(1.0,))
    backbone = TimmBackbone(spec, name="resnet18", width=0.125, options={"layers": [1, 1, 1, 1]})
    method = METHODS[name](backbone).double()
    synchronise_batch_norm(method)
    model = DistributedDataParallel(method, broadcast_buffers=False) if world > 1 else method
    optimizer = torch.optim.SGD(method.parameters(), lr=0.05, momentum=0.9)
    data = torch.Generator().manual_seed(1)
    views = 4 if name == "simclr_four_views" else 2
    losses, gradients = [], []
    for _ in range(STEPS):
        indices = torch.randperm(INSTANCES, generator=data)[:BATCH]
        pictures = torch.randn(views, BATCH, 1, 8, 8, generator=data, dtype=torch.float64)
        part = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
        loss, _ = model([view[part] for view in pictures], indices[part])
        optimizer.zero_grad()
        loss.backward()
        gradients.append({n: p.grad.clone() for n, p in method.named_parameters()})
        optimizer.step()
        total = loss.detach() / world
        if world > 1:
            dist.all_reduce(total)
        losses.append(total)
    state = method.state_dict()
    if isinstance(method, BankMethod):
        state["bank.embeddings"] = method.bank.rows(torch.arange(INSTANCES))  # of all processes
    found = {"losses": losses, "gradients": gradients, "state": state}
    torch.save(found, folder / f"{world}_{rank}.pt")
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()  # gloo's threads must not outlive the interpreter


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
