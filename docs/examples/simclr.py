"""SimCLR in a plain PyTorch loop, then kNN on the frozen features: about a minute on two cores."""

import sys

import torch

from ssl_dml.augment import Auto, Crops, Normalize
from ssl_dml.backbones import TimmBackbone
from ssl_dml.data import DataConfig, epochs, load_test, load_train, make_loader
from ssl_dml.evaluation import knn
from ssl_dml.methods import RunInfo, SimCLR
from ssl_dml.tables import EmbeddingTable
from ssl_dml.types import Batch


def main(steps: int = 200) -> float:
    """Train for some steps and return the accuracy of weighted kNN on the test images."""
    torch.manual_seed(0)
    data = DataConfig(source="fashion_mini", batch_size=256)  # or a folder of your own images
    train = load_train(data)
    test = load_test(data, train)

    augment = Auto(train.spec, crops=Crops(views=2, resolution=0.7))  # on the batch, on its device
    backbone = TimmBackbone(
        train.spec, name="resnet18", width=0.25, options={"layers": [1, 1, 1, 1]}
    )
    run_info = RunInfo(num_instances=len(train), batch_size=256, num_batches=steps)
    method = SimCLR(backbone, run_info, temperature=0.1)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)

    loader = make_loader(train, epochs(train, data, seed=0))  # endless
    for step, (pixels, indices) in zip(range(steps), loader, strict=False):
        loss, _ = method(Batch(augment(pixels), indices))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(f"step {step:4}  loss {loss.item():.3f}")

    normalize = Normalize(train.spec)
    backbone.eval()
    tables = []
    for samples, labels in ((train, train.labels), (test, test.labels)):
        rows = torch.arange(2000).split(500)  # enough to see it learn
        with torch.no_grad():
            features = torch.cat([backbone(normalize(samples[part][0])) for part in rows])
        tables.append(EmbeddingTable(embeddings=features, labels=labels[:2000]))
    accuracy = next(iter(knn(*tables, ks=[20], temperatures=[0.07]).values()))
    print(f"weighted kNN top-1 {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
