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

from ssl_dml.backbones import PatchBackbone, SequenceBackbone, TimmBackbone
from ssl_dml.backbones.norms import synchronise_batch_norm
from ssl_dml.methods import CPC, NPID, CPCImages, SimCLR, Task
from ssl_dml.types import ImageSpec, SequenceSpec

INSTANCES, BATCH, STEPS = 40, 8, 3
TASK = Task(
    num_instances=INSTANCES,
    batch_size=BATCH,
    num_batches=STEPS,
    labels=torch.arange(INSTANCES) % 5,
)
SPEC = ImageSpec(channels=1, size=8, mean=(0.0,), std=(1.0,))
RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


def _patches() -> PatchBackbone:
    return PatchBackbone(SPEC, patch=5, stride=1, **RESNET)


def _sequences() -> SequenceBackbone:
    spec = SequenceSpec(channels=1, length=40, mean=(0.0,), std=(1.0,))
    return SequenceBackbone(spec, width=8, strides=[2, 2], kernels=[4, 4], context_dim=8)


# What a method is built around where that is no ResNet.
BACKBONES = {"cpc": _sequences, "cpc_sequence": _sequences, "cpc_images": _patches}
# A method that is added is listed here once.
METHODS = {
    "cpc": lambda backbone: CPC(backbone, TASK, horizon=3),
    "cpc_sequence": lambda backbone: CPC(backbone, TASK, horizon=3, negatives="sequence"),
    "cpc_images": lambda backbone: CPCImages(backbone, TASK, directions=2, context_blocks=1),
    "simclr": lambda backbone: SimCLR(backbone, TASK, output_dim=8),
    "simclr_four_views": lambda backbone: SimCLR(backbone, TASK, output_dim=8),
    "npid": lambda backbone: NPID(backbone, TASK, negatives=16, output_dim=8),
    "npid_average_proximal": lambda backbone: NPID(
        backbone, TASK, negatives=16, normaliser="average", proximal=3.0, output_dim=8
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
    backbone = BACKBONES.get(name, lambda: TimmBackbone(SPEC, **RESNET))()
    extent = (40,) if isinstance(backbone, SequenceBackbone) else (8, 8)
    method = METHODS[name](backbone).double()
    synchronise_batch_norm(method)
    model = DistributedDataParallel(method, broadcast_buffers=False) if world > 1 else method
    optimizer = torch.optim.SGD(method.parameters(), lr=0.05, momentum=0.9)
    data = torch.Generator().manual_seed(1)
    views = 4 if name == "simclr_four_views" else 2
    losses, gradients = [], []
    for _ in range(STEPS):
        indices = torch.randperm(INSTANCES, generator=data)[:BATCH]
        samples = torch.randn(views, BATCH, 1, *extent, generator=data, dtype=torch.float64)
        part = slice(rank * BATCH // world, (rank + 1) * BATCH // world)
        loss, _ = model([view[part] for view in samples], indices[part])
        optimizer.zero_grad()
        loss.backward()
        gradients.append({n: p.grad.clone() for n, p in method.named_parameters()})
        optimizer.step()
        total = loss.detach() / world
        if world > 1:
            dist.all_reduce(total)
        losses.append(total)
    found = {"losses": losses, "gradients": gradients, "state": method.state_dict()}
    torch.save(found, folder / f"{world}_{rank}.pt")
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()  # gloo's threads must not outlive the interpreter


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
