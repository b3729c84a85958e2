"""Worker of test_setup: methods with compiled encoders, against the same without.

Usage: compiled.py BACKEND, one of torch.compile. It is a process of its own as the checks of shapes
that pytest adds to every function cannot be compiled.
"""

import copy
import sys

import torch

from ssl_dml.backbones import Chunked, TimmBackbone
from ssl_dml.methods import DCL, NNCLR, NPID, MoCo, MoCoV3, RunInfo, SimCLR
from ssl_dml.training import Pretrainer, place
from ssl_dml.types import Batch, ImageSpec

SPEC = ImageSpec(channels=1, size=8, mean=(0.5,), std=(0.25,))
INFO = RunInfo(num_instances=24, batch_size=6, num_batches=2)
SMALL = {"patch_size": 4, "img_size": 8, "embed_dim": 16, "num_heads": 2, "depth": 2}
OWN = {MoCo: {"queue_size": 24, "parts": 3}, NNCLR: {"queue_size": 24}}


def resnet():
    return TimmBackbone(SPEC, name="resnet18", width=0.125)


def vit():
    return TimmBackbone(SPEC, name="vit_tiny_patch16_224", options=SMALL)


def chunks():
    return Chunked(vit(), 3)


def compare(method, backend):
    """Loss and gradients, compiled and not; a break in an encoder is an error."""
    views = [torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    model, other = Pretrainer(method), Pretrainer(copy.deepcopy(method))
    place(other, torch.device("cpu"), compiled=True)
    for part in other.modules():
        if part._compiled_call_impl:
            part.compile(backend=backend, fullgraph=True)
    found = []
    for one in (model, other):
        torch.manual_seed(1)
        loss = one(Batch(views, torch.arange(6))).loss
        loss.backward()
        found.append((loss.detach(), [p.grad for p in one.parameters() if p.grad is not None]))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


def main(backend):
    kinds = (resnet, vit, chunks) if backend == "eager" else (resnet, vit)
    methods = (SimCLR, DCL, MoCo, MoCoV3, NPID, NNCLR) if backend == "eager" else (SimCLR, MoCo)
    for kind in kinds:
        for method in methods:
            torch.manual_seed(0)
            compare(method(kind(), INFO, **OWN.get(method, {})), backend)
            print(kind.__name__, method.__name__, flush=True)
    print("done")


if __name__ == "__main__":
    main(sys.argv[1])
