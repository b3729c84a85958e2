"""Worker of test_methods: a few steps of each method on this process's part of fixed batches.

Usage: method_steps.py FOLDER, with RANK and WORLD_SIZE in the environment. Writes for each method
the losses, the gradients after DDP's mean, and the state after the last step; and the same of a run
that goes on from the state after the first.
"""

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from processes import STEPS, part_of, train, write_steps

from ssl_dml.backbones import Chunked, PatchBackbone, SequenceBackbone, TimmBackbone, save
from ssl_dml.backbones.norms import synchronize_batch_norm
from ssl_dml.memory import BankStorage, MemoryBank
from ssl_dml.methods import (
    CPC,
    DCL,
    HCL,
    NNCLR,
    NPID,
    PIRL,
    SEED,
    CPCImages,
    FeatureAlignment,
    MoCo,
    MoCoV3,
    RunInfo,
    SimCLR,
    SupCon,
    nested,
)
from ssl_dml.training import AdaptSettings
from ssl_dml.types import Batch, ImageSpec, SequenceSpec

INSTANCES, BATCH = 40, 8
TASK = RunInfo(
    num_instances=INSTANCES,
    batch_size=BATCH,
    num_batches=STEPS,
    labeled=True,
)
PARTS = 4
NESTED = [8, 64]
SPEC = ImageSpec(channels=1, size=8, mean=(0.0,), std=(1.0,))
RESNET = {"name": "resnet18", "width": 0.125}
SHALLOW = {"layers": [1, 1, 1, 1]}


def resnet():
    """With batch norm, which has to be synchronized or split."""
    return TimmBackbone(SPEC, **RESNET, options=SHALLOW)


def partly(train):
    """A backbone of which a part is frozen, with its batch norm."""
    return AdaptSettings(train=train).apply(resnet())


def with_adapters(backbone):
    """A trained network that learns by adapters alone."""
    return AdaptSettings(train="lora", lora_rank=2).apply(backbone)


def vit():
    options = {"patch_size": 4, "img_size": 8, "embed_dim": 16, "num_heads": 2, "depth": 2}
    return TimmBackbone(SPEC, name="vit_tiny_patch16_224", options=options)


def chunked():
    """A backbone whose samples do not mix, three at a time."""
    options = {**SHALLOW, "norm_layer": "groupnorm1"}
    return Chunked(TimmBackbone(SPEC, **RESNET, options=options), 3)


def patches():
    return PatchBackbone(SPEC, patch=5, stride=1, **RESNET, options=SHALLOW)


def sequences():
    spec = SequenceSpec(channels=1, length=40, mean=(0.0,), std=(1.0,))
    return SequenceBackbone(spec, width=8, strides=[2, 2], kernels=[4, 4], context_dim=8)


def teacher():
    """A saved network, the same on every process."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        folder = Path(tempfile.mkdtemp()) / "teacher"
        options = {**RESNET, "options": SHALLOW}
        save(resnet(), folder, "ssl_dml.backbones.TimmBackbone", options, trained={})
    return str(folder)


# A method that is added is listed here once: how it is built, and with how many views.
METHODS = {
    "simclr": (2, lambda: SimCLR(resnet(), TASK, output_dim=8)),
    "simclr_nested": (2, lambda: nested(SimCLR(resnet(), TASK, output_dim=8), NESTED)),
    "supcon_nested": (2, lambda: nested(SupCon(resnet(), TASK, output_dim=8), NESTED)),
    "moco_nested": (
        2,
        lambda: nested(MoCo(resnet(), TASK, queue_size=20, output_dim=8, parts=PARTS), NESTED),
    ),
    "moco_v3_nested": (
        2,
        lambda: nested(MoCoV3(resnet(), TASK, hidden_dim=16, output_dim=8), NESTED),
    ),
    "nnclr_nested": (
        2,
        lambda: nested(
            NNCLR(resnet(), TASK, queue_size=20, predictor_dim=16, output_dim=8), NESTED
        ),
    ),
    "npid_nested": (
        2,
        lambda: nested(NPID(resnet(), TASK, negatives=16, output_dim=8), NESTED),
    ),
    "npid_sharded_nested": (
        2,
        lambda: nested(
            NPID(
                resnet(),
                TASK,
                storage=BankStorage(sharded=True),
                negatives=16,
                normalizer="average",
                output_dim=8,
            ),
            NESTED,
        ),
    ),
    "pirl_nested": (
        2,
        lambda: nested(PIRL(resnet(), TASK, grid=2, negatives=16, output_dim=8), NESTED),
    ),
    "seed_nested": (
        2,
        lambda: nested(SEED(resnet(), TASK, teacher=teacher(), queue_size=20), NESTED),
    ),
    "simclr_four_views": (4, lambda: SimCLR(resnet(), TASK, output_dim=8)),
    "simclr_chunked": (2, lambda: SimCLR(chunked(), TASK, output_dim=8)),
    "simclr_last_block": (2, lambda: SimCLR(partly("last:1"), TASK, output_dim=8)),
    "moco_last_blocks": (
        2,
        lambda: MoCo(partly("last:2"), TASK, queue_size=20, output_dim=8, parts=PARTS),
    ),
    "simclr_adapters_in_chunks": (
        2,
        lambda: SimCLR(Chunked(with_adapters(vit()), 3), TASK, output_dim=8),
    ),
    "moco_adapters": (
        2,
        lambda: MoCo(with_adapters(resnet()), TASK, queue_size=20, output_dim=8, parts=PARTS),
    ),
    "moco_v3_adapters": (
        2,
        lambda: MoCoV3(with_adapters(vit()), TASK, hidden_dim=16, output_dim=8),
    ),
    "npid_adapters": (
        2,
        lambda: NPID(with_adapters(vit()), TASK, negatives=16, output_dim=8),
    ),
    "pirl_adapters": (
        2,
        lambda: PIRL(with_adapters(resnet()), TASK, grid=2, negatives=16, output_dim=8),
    ),
    "seed_adapters": (
        1,
        lambda: SEED(with_adapters(resnet()), TASK, teacher=teacher(), queue_size=20),
    ),
    "alignment_adapters": (
        2,
        lambda: FeatureAlignment(with_adapters(resnet()), TASK, teacher=teacher()),
    ),
    "cpc_adapters": (1, lambda: CPC(with_adapters(sequences()), TASK, horizon=3)),
    "cpc_images_adapters": (
        1,
        lambda: CPCImages(with_adapters(patches()), TASK, context_blocks=1),
    ),
    "npid_norms": (2, lambda: NPID(partly("norms"), TASK, negatives=16, output_dim=8)),
    "dcl": (2, lambda: DCL(resnet(), TASK, output_dim=8)),
    "dclw": (2, lambda: DCL(resnet(), TASK, weight_sigma=0.5, output_dim=8)),
    "hcl": (2, lambda: HCL(resnet(), TASK, output_dim=8)),
    "debiased": (2, lambda: HCL(resnet(), TASK, beta=0.0, output_dim=8)),
    "supcon": (2, lambda: SupCon(resnet(), TASK, output_dim=8)),
    "supcon_one_view": (1, lambda: SupCon(resnet(), TASK, output_dim=8)),
    "moco": (2, lambda: MoCo(resnet(), TASK, queue_size=20, output_dim=8, parts=PARTS)),
    "moco_split_symmetric": (
        2,
        lambda: MoCo(
            resnet(),
            TASK,
            queue_size=20,
            momentum=0.9,
            layers=2,
            output_dim=8,
            symmetric=True,
            batch_norm="split",
            parts=PARTS,
        ),
    ),
    "moco_synchronized": (
        2,
        lambda: MoCo(resnet(), TASK, queue_size=20, output_dim=8, batch_norm="synchronized"),
    ),
    "moco_v3": (2, lambda: MoCoV3(resnet(), TASK, hidden_dim=16, output_dim=8)),
    "nnclr": (
        2,
        lambda: NNCLR(resnet(), TASK, queue_size=20, predictor_dim=16, output_dim=8),
    ),
    "seed": (1, lambda: SEED(resnet(), TASK, teacher=teacher(), queue_size=20)),
    "seed_two_views": (2, lambda: SEED(resnet(), TASK, teacher=teacher(), queue_size=20)),
    "feature_alignment": (2, lambda: FeatureAlignment(resnet(), TASK, teacher=teacher())),
    "cpc": (1, lambda: CPC(sequences(), TASK, horizon=3)),
    "cpc_sequence": (1, lambda: CPC(sequences(), TASK, horizon=3, negatives="sequence")),
    "cpc_images": (1, lambda: CPCImages(patches(), TASK, directions=2, context_blocks=1)),
    "npid": (2, lambda: NPID(resnet(), TASK, negatives=16, output_dim=8)),
    "npid_average_proximal": (
        2,
        lambda: NPID(
            resnet(), TASK, negatives=16, normalizer="average", proximal=3.0, output_dim=8
        ),
    ),
    "npid_drawn_for_the_batch": (
        2,
        lambda: NPID(
            resnet(),
            TASK,
            negatives=16,
            draw_for="batch",
            normalizer="batch",
            layers=2,
            output_dim=8,
        ),
    ),
    "npid_sharded": (
        2,
        lambda: NPID(
            resnet(),
            TASK,
            negatives=16,
            storage=BankStorage(dtype="bfloat16", device="cpu", sharded=True),
            output_dim=8,
        ),
    ),
    "pirl": (2, lambda: PIRL(resnet(), TASK, grid=2, negatives=16, output_dim=8)),
    "pirl_both_pretexts": (
        2,
        lambda: PIRL(
            resnet(),
            TASK,
            pretexts=("jigsaw", "rotation"),
            grid=2,
            layers=2,
            storage=BankStorage(dtype="bfloat16", device="cpu", sharded=True),
            negatives=16,
            output_dim=8,
        ),
    ),
    "npid_full_softmax": (2, lambda: NPID(resnet(), TASK, negatives=None, output_dim=8)),
    "npid_given_normalizer": (
        2,
        lambda: NPID(resnet(), TASK, negatives=16, normalizer=1000.0, output_dim=8),
    ),
}


def steps(name: str, rank: int, world: int, saved: Any) -> dict[str, Any]:
    """Losses, gradients and last state of a method; from the beginning, or from what was saved."""
    torch.manual_seed(0 if saved is None else 99)
    views, build = METHODS[name]
    method = build().double()
    extent = (40,) if isinstance(method.backbone, SequenceBackbone) else (8, 8)
    synchronize_batch_norm(method)
    data = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(STEPS):
        indices = torch.randperm(INSTANCES, generator=data)[:BATCH]
        samples = torch.randn(views, BATCH, 1, *extent, generator=data, dtype=torch.float64)
        own = [part_of(view, rank, world) for view in samples]
        indices = part_of(indices, rank, world)
        batches.append((Batch(own, indices, indices % 5),))
    made = train(method, batches, world, saved)
    for part, module in method.named_modules():
        if isinstance(module, MemoryBank):
            rows = module.rows(torch.arange(INSTANCES))  # of all processes
            made["state"][f"{part}.embeddings"] = rows
    return made


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".broadcast_buffers. is deprecated")
    write_steps(sys.argv[1], sys.argv[2].split(","), steps)
