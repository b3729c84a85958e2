"""Worker of test_synchronizations: where the host waits for the device in a steady step.

Usage: one_step.py FILE CASE..., all without CASE. The file gets a JSON object: for each case the
waits by place, and the number of launches apart from those of the augmentation. With RANK and
WORLD_SIZE in the environment, and STORE, the processes find each other there.
"""

import itertools
import json
import os
import sys
import warnings
from functools import partial
from pathlib import Path

import pretend
import torch
from torch import nn

from ssl_dml.augment import Color, Crops, FineTune, Gray, ManyChannel, SequenceViews
from ssl_dml.backbones import Embedder, PatchBackbone, SequenceBackbone, TimmBackbone
from ssl_dml.backbones.norms import synchronize_batch_norm
from ssl_dml.heads import (
    CenterLoss,
    MarginSoftmax,
    PairHead,
    ProxyAnchor,
    ProxyNCA,
    SoftTriple,
    attach_partial_fc,
)
from ssl_dml.losses import (
    Circle,
    Contrastive,
    FacilityLocation,
    Lifted,
    MultiSimilarity,
    NPair,
    SmoothAP,
    Triplet,
)
from ssl_dml.margins import AdaCos, AdaFace, ArcFace, CosFace, CurricularFace, MagFace, SphereFace
from ssl_dml.memory import BankStorage
from ssl_dml.methods import (
    CPC,
    DCL,
    HCL,
    NNCLR,
    NPID,
    PIRL,
    CPCImages,
    MoCo,
    MoCoV3,
    RunInfo,
    SimCLR,
    SupCon,
)
from ssl_dml.mining import (
    All,
    BatchHard,
    DistanceWeighted,
    Easy,
    FaceNet,
    Hard,
    MultiSimilarityMiner,
    SemiHard,
)
from ssl_dml.training import Finetuner, Pretrainer, TrainConfig, batches, fit, make_accelerator
from ssl_dml.training.optimizers import parameter_groups
from ssl_dml.training.schedules import warmup_cosine
from ssl_dml.types import ImageSpec, SequenceSpec

BATCH, INSTANCES, SIDE, CLASSES, STEPS = 8, 64, 16, 4, 6
INFO = RunInfo(num_instances=INSTANCES, batch_size=BATCH, num_batches=STEPS, labeled=True)
COLOR = ImageSpec(channels=3, size=SIDE, mean=(0.5,) * 3, std=(0.2,) * 3)
GRAY = ImageSpec(channels=1, size=SIDE, mean=(0.5,), std=(0.2,))
BANDS = ImageSpec(channels=5, size=SIDE, mean=(0.5,) * 5, std=(0.2,) * 5)
SOUND = SequenceSpec(channels=1, length=1600, mean=(0.0,), std=(0.1,), sampling_rate=16_000)
SMALL = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}
LABELS = torch.arange(INSTANCES) % CLASSES


def color(views=2, **options):
    return Color(COLOR, crops=Crops(views=views, degrees=10.0), **options)


def pretrainer(method, spec=COLOR, backbone=None, **options):
    """A method with a small backbone."""
    network = TimmBackbone(spec, **SMALL) if backbone is None else backbone
    return Pretrainer(method(network, INFO, **options))


def finetuner(head, **options):
    """A head on a small embedding model."""
    network = {"class_path": "ssl_dml.backbones.TimmBackbone", "init_args": SMALL}
    embedder = Embedder(COLOR, dim=8, neck="linear", **network)
    return Finetuner(embedder, head(8, CLASSES, **options))


METHODS = {
    "SimCLR": SimCLR,
    "DCL": DCL,
    "HCL": HCL,
    "NNCLR": partial(NNCLR, queue_size=16),
    "MoCo": partial(MoCo, queue_size=16, parts=2),
    "MoCo symmetric": partial(MoCo, queue_size=16, parts=2, symmetric=True),
    "MoCo v3": MoCoV3,
    "SupCon": SupCon,
}
ONE_VIEW = {
    "NPID": partial(NPID, negatives=8),
    "NPID split": partial(NPID, negatives=8, storage=BankStorage(sharded=True)),
    "PIRL": partial(PIRL, negatives=8),
    "PIRL split": partial(PIRL, negatives=8, storage=BankStorage(sharded=True)),
}
RECIPES = {
    "Color with all": color(blur=0.5, solarize=0.2),
    "Gray with all": Gray(GRAY, blur=0.5, erase=0.5),
    "ManyChannel with all": ManyChannel(BANDS, blur=0.5),
    "multi-crop": Color(COLOR, crops=Crops(views=2, local_views=2)),
}
MARGINS = {
    "ArcFace": ArcFace,
    "ArcFace clip": partial(ArcFace, beyond_pi="clip"),
    "CosFace": CosFace,
    "SphereFace": SphereFace,
    "AdaCos": AdaCos,
    "AdaFace": AdaFace,
    "CurricularFace": CurricularFace,
    "MagFace": MagFace,
}
HEADS = {
    **{name: partial(MarginSoftmax, margin=make()) for name, make in MARGINS.items()},
    "ArcFace sampled": partial(MarginSoftmax, margin=ArcFace(), sample_rate=0.5),
    "ArcFace sharded": partial(MarginSoftmax, margin=ArcFace(), sharded=True),
    "triplet, FaceNet": partial(PairHead, loss=Triplet(), miner=FaceNet()),
    "triplet, semi-hard": partial(PairHead, loss=Triplet(), miner=SemiHard()),
    "triplet, hardest": partial(PairHead, loss=Triplet(), miner=BatchHard()),
    "triplet, hard": partial(PairHead, loss=Triplet(), miner=Hard()),
    "triplet, easy": partial(PairHead, loss=Triplet(), miner=Easy()),
    "triplet, weighted": partial(PairHead, loss=Triplet(), miner=DistanceWeighted()),
    "triplet, mined all": partial(PairHead, loss=Triplet(), miner=All()),
    "triplet, soft": partial(PairHead, loss=Triplet(margin=None)),
    "triplet, all": partial(PairHead, loss=Triplet()),
    "contrastive": partial(PairHead, loss=Contrastive()),
    "multi-similarity": partial(PairHead, loss=MultiSimilarity()),
    "multi-similarity, mined": partial(
        PairHead, loss=MultiSimilarity(), miner=MultiSimilarityMiner()
    ),
    "circle": partial(PairHead, loss=Circle()),
    "lifted": partial(PairHead, loss=Lifted()),
    "smooth AP": partial(PairHead, loss=SmoothAP()),
    "smooth AP, hard": partial(PairHead, loss=SmoothAP(), miner=Hard()),
    "facility location": partial(PairHead, loss=FacilityLocation()),
    "N-pair": partial(PairHead, loss=NPair()),
    "proxy NCA": ProxyNCA,
    "proxy anchor": ProxyAnchor,
    "soft triple": SoftTriple,
    "center": CenterLoss,
}


def cases():
    """How a model is made, its augmentation and its samples, by name."""
    found = {name: (partial(pretrainer, make), color(), COLOR) for name, make in METHODS.items()}
    moco = partial(pretrainer, MoCo, queue_size=16, layers=2, parts=4)
    large = TimmBackbone(COLOR, name="resnet50", width=0.125)
    found["MoCo v2, ResNet-50"] = partial(moco, backbone=large), color(), COLOR
    for name, make in ONE_VIEW.items():
        found[name] = partial(pretrainer, make), color(views=1), COLOR
    for name, recipe in RECIPES.items():
        spec = {"Gray with all": GRAY, "ManyChannel with all": BANDS}.get(name, COLOR)
        found[name] = partial(pretrainer, SimCLR, spec), recipe, spec
    sound = SequenceBackbone(SOUND, width=8, context_dim=8, heads=2, context="transformer")
    heard = SequenceViews(SOUND, window=1280, views=1, reverb=0.5)
    found["CPC"] = partial(pretrainer, CPC, backbone=sound, horizon=2), heard, SOUND
    grid = {"backbone": PatchBackbone(COLOR, patch=8, stride=4, **SMALL), "horizon": 1, "skip": 0}
    found["CPC on images"] = partial(pretrainer, CPCImages, **grid), color(views=1), COLOR
    for name, make in HEADS.items():
        found[name] = partial(finetuner, make), FineTune(COLOR), COLOR
    return found


def stored(spec):
    """Endless batches of stored samples."""
    generator = torch.Generator().manual_seed(0)
    while True:
        shape, kind = (BATCH, spec.channels, SIDE, SIDE), torch.uint8
        if spec is SOUND:
            shape, kind = (BATCH, 1, spec.length), torch.int16
        samples = torch.randint(1, 200, shape, generator=generator, dtype=kind)
        yield samples, torch.randperm(INSTANCES, generator=generator)[:BATCH]


def main(file, *names):
    """Count the waits of the fourth step of each case."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    pretend.install()
    if (store := os.environ.get("STORE")) is None:
        pretend.alone()
    else:
        pretend.join(store)
    config = TrainConfig(steps=STEPS, precision="no", log_every=10**6)
    accelerator = make_accelerator(config, seed=0)
    found = {}
    known = cases()
    for name in names or known:
        make, augment, spec = known[name]
        try:
            found[name] = count(make(), augment, spec, config, accelerator)
        except Exception as error:
            raise RuntimeError(name) from error
        if os.environ.get("RANK", "0") == "0":
            Path(file).write_text(json.dumps(found))


class Apart(nn.Module):
    """An augmentation whose launches are counted apart."""

    def __init__(self, augment):
        super().__init__()
        self.augment, self.launched = augment, 0

    def forward(self, samples):
        before = pretend.launched()
        views = self.augment(samples)
        self.launched = pretend.launched() - before
        return views


def count(model, augment, spec, config, accelerator):
    """Waits by place and launches of one steady step."""
    device = accelerator.device
    synchronize_batch_norm(model)
    model.to(device)
    augment = Apart(augment)
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.01, momentum=0.9)
    attach_partial_fc(model, optimizer)
    scheduler = warmup_cosine(optimizer, steps=STEPS, warmup=1)
    optimizer = accelerator.prepare_optimizer(optimizer)
    inputs = batches(stored(spec), augment.to(device), device, LABELS)
    plan = {"start": 0, "steps": STEPS, "config": config, "accelerator": accelerator}
    steps = fit(accelerator.prepare_model(model), optimizer, scheduler, inputs, **plan)
    list(itertools.islice(steps, 3))
    with pretend.counted() as found:
        next(steps)
        launched = found.launches - augment.launched
        result = {"waits": dict(found.waits), "launches": launched}
    accelerator.free_memory()
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
