"""Training steps on one process and on several: the worker's half, and the test's."""

import copy
import os
import runpy
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close
from torch.utils._pytree import tree_map

from ssl_dml.distributed import is_split, whole
from ssl_dml.heads import attach_partial_fc
from ssl_dml.training.splitting import fitted_state

STEPS, STOP = 3, 1


def write_steps(folder, names, steps):
    """In a worker: for each name write what its steps did, and what a run did that went on.

    ``steps(name, rank, world, saved)`` trains from the beginning, or from what was saved.
    """
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/store_{world}", rank=rank, world_size=world
        )
    for name in names:
        found = steps(name, rank, world, None)
        found["resumed"] = steps(name, rank, world, found["saved"])
        torch.save(found, Path(folder) / f"{name}_{world}_{rank}.pt")
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()  # gloo's threads must not outlive the interpreter


def train(module, batches, world, saved):
    """Losses, gradients after DDP's mean, the last state, and that after the first step."""
    trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
    split = [name for name, p in module.named_parameters() if is_split(p)]
    own = getattr(module, "_ddp_params_and_buffers_to_ignore", ())
    if not set(split) <= set(own):  # a method by itself
        module._ddp_params_and_buffers_to_ignore = [*own, *split]
    shared = world > 1 and trained.keys() - set(split)
    model = DistributedDataParallel(module, broadcast_buffers=False) if shared else module
    optimizer = torch.optim.SGD(trained.values(), lr=0.05, momentum=0.9)
    attach_partial_fc(module, optimizer)
    losses, gradients, states = [], [], []
    if saved is not None:
        module.load_state_dict(fitted_state(module, saved[0]))
        optimizer.load_state_dict(fitted_state(optimizer, saved[1]))
    for step, arguments in enumerate(batches):
        if saved is not None and step < STOP:
            continue
        loss, _ = model(*arguments)
        optimizer.zero_grad()
        loss.backward()
        gradients.append({n: whole(p.grad).clone() for n, p in trained.items()})
        optimizer.step()
        total = loss.detach() / world
        if world > 1:
            dist.all_reduce(total)
        losses.append(total)
        own = (module.state_dict(), optimizer.state_dict())
        states.append(copy.deepcopy(tree_map(lambda v: whole(v) if is_split(v) else v, own)))
    made = {"losses": losses, "gradients": gradients, "state": states[-1][0]}
    return made if saved is not None else {**made, "saved": states[STOP - 1]}


def part_of(batch, rank, world):
    """This process's rows of what is cut along its first axis."""
    return batch[rank * len(batch) // world : (rank + 1) * len(batch) // world]


def names_in(worker, table):
    """What a worker's table lists."""
    return list(runpy.run_path(str(worker))[table])


def loader(worker, run_workers, folder, *groups):
    """What each process of a world found; all names of a group are run together the first time.

    Without groups the worker is not told names, and has one group of its own.
    """
    done = set()

    def load(name, world):
        group = next((names for names in groups if name in names), ())
        if (world, *group) not in done:
            done.add((world, *group))  # also if it fails, so that every test fails at once
            run_workers(worker, world, folder, *([",".join(group)] if group else []))
        return [torch.load(folder / f"{name}_{world}_{rank}.pt") for rank in range(world)]

    return load


def assert_equal_one(name, processes, alone):
    """What every process found is what one found with the whole batch."""
    for found in processes:
        assert_close(found["losses"], alone["losses"], rtol=1e-9, atol=1e-10)
        assert_close(found["gradients"], alone["gradients"], rtol=1e-7, atol=1e-10)
        assert_close(found["state"], alone["state"], rtol=1e-7, atol=1e-10, equal_nan=True)
    print(f"{name:32} 1 vs {len(processes)}: {_difference(processes[0], alone)}")
    assert len({loss.item() for loss in alone["losses"]}) == len(alone["losses"])


def assert_resumed(processes):
    """A run that went on from a checkpoint is the one that was never stopped, bit for bit."""
    for found in processes:
        exact = {"rtol": 0, "atol": 0, "equal_nan": True}
        assert_close(found["resumed"]["losses"], found["losses"][STOP:], **exact)
        assert_close(found["resumed"]["state"], found["state"], **exact)


def _difference(found, alone):
    """The largest differences, in words."""

    def largest(first, second):
        pairs = zip(first, second, strict=True)
        return max(((a.double() - b.double()).abs().nan_to_num().max().item() for a, b in pairs))

    gradients = [
        largest(a.values(), b.values())
        for a, b in zip(found["gradients"], alone["gradients"], strict=True)
    ]
    state = largest(found["state"].values(), alone["state"].values())
    return (
        f"largest difference in loss {largest(found['losses'], alone['losses']):.1e}, "
        f"any gradient {max(gradients):.1e}, state {state:.1e}"
    )
