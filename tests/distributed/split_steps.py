"""Worker of test_splitting: methods and ArcFace, whose encoders are split on several processes.

Usage: split_steps.py FOLDER NAMES, with RANK and WORLD_SIZE in the environment. Names are those of
method_steps, and margin softmax heads of head_steps on a backbone.
"""

import os
import sys
import warnings
from typing import Any

import head_steps
import method_steps
import torch
from processes import STEPS, part_of, train, write_steps

from ssl_dml.backbones import Embedder
from ssl_dml.backbones.norms import synchronize_batch_norm
from ssl_dml.distributed import has_split_weights
from ssl_dml.training import Finetuner, Pretrainer, split_encoders
from ssl_dml.types import Batch

os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_MIN_NUM_PARAMS": "1000"}
RESNET = {
    "class_path": "ssl_dml.backbones.TimmBackbone",
    "init_args": {**method_steps.RESNET, "options": method_steps.SHALLOW},
}


def steps(name: str, rank: int, world: int, saved: Any) -> dict[str, Any]:
    """As of method_steps, once the encoders of the method are split."""
    if name in head_steps.HEADS:
        return head(name, rank, world, saved)

    def split(method: torch.nn.Module) -> torch.nn.Module:
        split_encoders(Pretrainer(synchronize_batch_norm(method)).encoders)
        assert has_split_weights(method) == (world > 1)
        return method

    method_steps.synchronize_batch_norm = split
    return method_steps.steps(name, rank, world, saved)


def head(name: str, rank: int, world: int, saved: Any) -> dict[str, Any]:
    """Fine-tuning under a head."""
    torch.manual_seed(0 if saved is None else 99)
    embedder = Embedder(method_steps.SPEC, **RESNET, neck="linear_batch_norm", dim=head_steps.DIM)
    model = Finetuner(embedder, head_steps.HEADS[name]()).double()
    split_encoders(synchronize_batch_norm(model).encoders)
    assert has_split_weights(model) == (world > 1)
    data, batches = torch.Generator().manual_seed(1), []
    for _ in range(STEPS):
        samples = torch.randn(8, 1, 8, 8, generator=data, dtype=torch.float64)
        labels = torch.randint(head_steps.CLASSES, (8,), generator=data)
        own = [part_of(samples, rank, world)]
        batches.append((Batch(own, torch.arange(8 // world), part_of(labels, rank, world)),))
    made = train(model, batches, world, saved)
    for tensors in (made["state"], *made["gradients"]):
        head_steps._put_together(model, tensors)
    return made


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".broadcast_buffers. is deprecated")
    write_steps(sys.argv[1], sys.argv[2].split(","), steps)
