"""MoCo v2 in a plain PyTorch loop: a queue of negatives, and a backbone saved in a folder."""

import sys
from pathlib import Path

import torch

from ssl_dml.augment import Auto, Crops
from ssl_dml.backbones import TimmBackbone, load, save
from ssl_dml.data import DataConfig, epochs, load_train, make_loader
from ssl_dml.methods import MoCo, RunInfo
from ssl_dml.types import Batch

NETWORK = {"name": "resnet18", "width": 0.25, "options": {"layers": [1, 1, 1, 1]}}


def main(folder: str = "runs/moco_example/backbone", steps: int = 200) -> list[float]:
    """Train for some steps, save the backbone, and return the losses."""
    torch.manual_seed(0)
    data = DataConfig(source="fashion_mini", batch_size=256)
    train = load_train(data)
    augment = Auto(train.spec, crops=Crops(views=2, resolution=0.7))
    backbone = TimmBackbone(train.spec, **NETWORK)
    run_info = RunInfo(num_instances=len(train), batch_size=256, num_batches=steps)
    # Version 2 has an MLP as projector. The queue must be much smaller than the data set.
    method = MoCo(backbone, run_info, queue_size=2048, momentum=0.99, temperature=0.2, layers=2)
    trained = [p for p in method.parameters() if p.requires_grad]  # not the momentum encoder
    optimizer = torch.optim.SGD(trained, lr=0.06, momentum=0.9, weight_decay=5e-4)

    losses = []
    loader = make_loader(train, epochs(train, data, seed=0))
    for step, (pixels, indices) in zip(range(steps), loader, strict=False):
        loss, _ = method(Batch(augment(pixels), indices))  # also moves the queue and its encoder
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"step {step:4}  loss {loss.item():.3f}")

    about = {"method": "MoCo v2", "steps": steps}
    save(backbone, Path(folder), "ssl_dml.backbones.TimmBackbone", NETWORK, trained=about)
    print(f"saved in {folder}; feature dimension {load(Path(folder)).feature_dim}")
    return losses


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
