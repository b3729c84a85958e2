"""Checks 1 and 2: what the device computes is what the CPU computes."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ssl_dml import heads, losses, margins, methods, mining
from ssl_dml.augment.color import ColorJitter
from ssl_dml.augment.geometry import CropFlip
from ssl_dml.backbones import TimmBackbone
from ssl_dml.benchmarking.setting import Found, Setting, apart, at_most
from ssl_dml.methods import RunInfo
from ssl_dml.types import Batch, ImageSpec

DIM, CLASSES, OF_EACH = 32, 16, 4
SPEC = ImageSpec(channels=3, size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
SMALL = {"name": "resnet18", "width": 0.25, "options": {"layers": [1, 1, 1, 1]}}
VIEWS, INSTANCES = 16, 512
INFO = RunInfo(num_instances=INSTANCES, batch_size=VIEWS, num_batches=100, labeled=True)
CLOSE, LOSS, GRADIENT, PIXELS = 2e-4, 1e-3, 2e-2, 1e-3  # relative differences that pass
CPU = torch.device("cpu")


@contextmanager
def plain_float32() -> Iterator[None]:
    """Products and convolutions in float32, not in TF32."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def offered(package: Any, contract: type) -> dict[str, Any]:  # noqa: ANN401 - a module
    """What a package offers that keeps a contract, by name."""
    found = {name: getattr(package, name) for name in package.__all__}
    return {
        name: part
        for name, part in found.items()
        if isinstance(part, type) and issubclass(part, contract) and part is not contract
    }


def every_head() -> dict[str, heads.Head]:
    """Each head, loss, miner and margin, whole, sampled and with sub-centers, by name."""
    built_of_others = ("MarginSoftmax", "PairHead", "WeightedSum", "Nested")
    kinds = offered(heads, heads.Head)
    found = {
        name: kind(DIM, CLASSES) for name, kind in kinds.items() if name not in built_of_others
    }
    for name, loss in offered(losses, losses.PairLoss).items():
        found[f"loss {name}"] = heads.PairHead(DIM, CLASSES, loss=loss())
    for name, miner in offered(mining, mining.Miner).items():
        own = {"loss": losses.Triplet(), "miner": miner()}
        found[f"miner {name}"] = heads.PairHead(DIM, CLASSES, **own)
    for name, margin in offered(margins, margins.Margin).items():
        for more in ({}, {"sample_rate": 0.5}, {"sub_centers": 2}):
            own = {"margin": margin(), **more}
            words = " ".join([f"margin {name}", *more])
            found[words] = heads.MarginSoftmax(DIM, CLASSES, **own)
    return found


def check_losses(setting: Setting, found: Found) -> None:
    """Value and gradient of every loss, miner, margin and head."""
    torch.manual_seed(0)
    rows, labels = torch.randn(CLASSES * OF_EACH, DIM), torch.arange(CLASSES).repeat(OF_EACH)
    far = dict[str, float]()
    with plain_float32():
        for name, head in every_head().items():
            given = torch.randn(len(labels), 1) if head.continuous else labels
            here, there = (_step(head, rows, given, device) for device in (CPU, setting.device))
            far[name] = max(apart(one, two) for one, two in zip(there, here, strict=True))
    found["cases"], found["largest difference"] = len(far), max(far.values())
    at_most(CLOSE, far, "value or gradient")


def _step(
    head: heads.Head, rows: Tensor, labels: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    head = copy.deepcopy(head).to(device)
    own = rows.detach().to(device, copy=True).requires_grad_()
    heads.attach_partial_fc(head, torch.optim.SGD([own, *head.parameters()], lr=0.1))
    loss = head(own, labels.to(device)).loss
    loss.backward()
    assert own.grad is not None
    return loss, own.grad


def every_method() -> dict[str, Callable[[], methods.Method]]:
    """Builders of methods on a small network, by name."""

    def network() -> TimmBackbone:
        return TimmBackbone(SPEC, **SMALL)

    makers: dict[str, Any] = {
        "SimCLR": methods.SimCLR,
        "DCL": methods.DCL,
        "HCL": methods.HCL,
        "SupCon": methods.SupCon,
        "NPID": partial(methods.NPID, negatives=64),
        "PIRL": partial(methods.PIRL, negatives=64),
        "MoCo": partial(methods.MoCo, queue_size=256, parts=4),
        "MoCo symmetric": partial(methods.MoCo, queue_size=256, parts=4, symmetric=True),
        "MoCoV3": methods.MoCoV3,
        "NNCLR": partial(methods.NNCLR, queue_size=128),
    }
    return {name: lambda make=make: make(network(), INFO) for name, make in makers.items()}


ONE_VIEW = ("NPID", "PIRL")


def check_methods(setting: Setting, found: Found) -> None:
    """Two steps of ten methods, and the augmentation with given factors."""
    far = {"loss": dict[str, float](), "gradient": dict[str, float]()}
    with plain_float32():
        found["pixels"] = _augmented(setting.device)
        for name, build in every_method().items():
            torch.manual_seed(1)
            method = build()
            views = torch.randn(1 if name in ONE_VIEW else 2, VIEWS, 3, 32, 32)
            here, there = (_steps(method, views, device) for device in (CPU, setting.device))
            for what, one, two in zip(far, there, here, strict=True):
                far[what][name] = apart(one, two)
    for what, values in far.items():
        found[f"largest difference of a {what}"] = max(values.values())
    at_most(PIXELS, {"augmentation": found["pixels"]}, "pixels")
    at_most(LOSS, far["loss"], "loss")
    at_most(GRADIENT, far["gradient"], "norm of the gradient")


def _augmented(device: torch.device) -> float:
    """Difference of crops and colors by the same matrices and factors."""
    torch.manual_seed(0)
    images, crop, jitter = torch.rand(8, 3, 64, 64), CropFlip(48), ColorJitter()
    matrices = crop.draw(8)
    factors = [*(torch.rand(8) + 0.5 for _ in range(3)), torch.rand(8) * 0.2]

    def made(where: torch.device) -> Tensor:
        own = copy.deepcopy(jitter)
        own.to(where)
        cropped = crop.sample(images.to(where), matrices.to(where))
        return own.recolor(cropped, *(factor.to(where) for factor in factors))

    return apart(made(device), made(CPU))


def _steps(method: methods.Method, views: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Loss, and norm of the gradient, of the second of two forward passes."""
    method = copy.deepcopy(method).to(device)
    indices = torch.arange(VIEWS, device=device)
    batch = Batch(views=list(views.to(device)), indices=indices, labels=indices % 4)
    method(batch)
    loss = method(batch).loss
    loss.backward()
    gradients = [one.grad for one in method.backbone.parameters() if one.grad is not None]
    return loss, torch.stack([one.norm() for one in gradients]).norm()
