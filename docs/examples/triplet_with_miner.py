"""Triplet loss with a semi-hard miner on any network, and recall@1 among classes never seen."""

import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from ssl_dml.data import DataConfig, load_test, load_train
from ssl_dml.data.class_batches import ClassBatches
from ssl_dml.evaluation import retrieval
from ssl_dml.losses import Triplet
from ssl_dml.mining import SemiHard
from ssl_dml.tables import EmbeddingTable

network = nn.Sequential(  # yours: anything from images to [batch, dim]
    nn.Conv2d(1, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
    nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
    nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
    nn.Flatten(), nn.Linear(128 * 16, 128),
)  # fmt: skip


def main(steps: int = 200) -> float:
    """Train for some steps and return recall@1 among the test images."""
    data = DataConfig(source="hangul")  # 420 syllables to train on, 180 others to test on
    train = load_train(data)
    test = load_test(data, train)
    loss = Triplet(margin=0.2)
    miner = SemiHard(margin=0.2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    order = ClassBatches(train.labels, batch_size=128, classes=32, seed=0)  # 4 images a class
    for step, (pixels, indices) in zip(
        range(steps), DataLoader(train, sampler=order, batch_size=None), strict=False
    ):
        embeddings = F.normalize(network(1 - pixels / 255))
        labels = train.labels[indices]
        mined = miner(embeddings.detach(), labels)
        value = loss(embeddings, labels, mined=mined)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            count = int((mined.high - mined.low).sum())
            print(f"step {step:4}  loss {value.item():.3f}  semi-hard triplets {count:,}")

    network.eval()
    with torch.no_grad():
        found = [network(1 - test[r][0] / 255) for r in torch.arange(len(test)).split(500)]
    measured = retrieval(EmbeddingTable(embeddings=torch.cat(found), labels=test.labels))
    print(f"recall@1 {measured['recall_at_1']:.1%}")
    return measured["recall_at_1"]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
