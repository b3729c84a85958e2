"""ArcFace over sampled class weights (Partial FC), and recall@1 among classes never seen."""

import sys

import torch
from torch.utils.data import DataLoader

from ssl_dml.augment import FineTune, Normalize
from ssl_dml.backbones import Embedder
from ssl_dml.data import DataConfig, load_test, load_train
from ssl_dml.evaluation import retrieval
from ssl_dml.heads import MarginSoftmax, attach_partial_fc
from ssl_dml.margins import ArcFace
from ssl_dml.tables import EmbeddingTable

NETWORK = {"name": "resnet18", "width": 0.25, "options": {"layers": [1, 1, 1, 1]}}


def main(steps: int = 400) -> float:
    """Train for some steps and return recall@1 among the test images."""
    torch.manual_seed(0)
    data = DataConfig(source="hangul")
    train = load_train(data)
    test = load_test(data, train)
    embedder = Embedder(
        train.spec,
        class_path="ssl_dml.backbones.TimmBackbone",
        init_args=NETWORK,
        neck="linear_batch_norm",
        dim=128,
    )
    margin = ArcFace(scale=16.0, margin=0.3)
    head = MarginSoftmax(128, len(train.class_names), margin=margin, sample_rate=0.5)
    model = torch.nn.ModuleDict({"embedder": embedder, "head": head})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=5e-4)
    attach_partial_fc(model, optimizer)  # sampled class weights need this one line

    augment = FineTune(train.spec)
    loader = DataLoader(train, batch_size=None, sampler=torch.randint(len(train), (steps, 256)))
    for step, (pixels, indices) in enumerate(loader):
        loss, logs = head(embedder(augment(pixels)[0]), train.labels[indices])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(f"step {step:4}  loss {loss.item():.3f}  cosine {logs['own_cosine'].item():.2f}")

    embedder.eval()
    normalize = Normalize(test.spec)
    with torch.no_grad():
        found = [embedder(normalize(test[r][0])) for r in torch.arange(len(test)).split(500)]
    measured = retrieval(EmbeddingTable(embeddings=torch.cat(found), labels=test.labels))
    print(f"recall@1 {measured['recall_at_1']:.1%}")
    return measured["recall_at_1"]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
