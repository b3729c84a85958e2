import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ssl_dml.backbones import TimmBackbone
from ssl_dml.data import DataConfig, load_train
from ssl_dml.evaluation import ProbeConfig, bank_probe, probe_split
from ssl_dml.methods import NPID, RunInfo, SimCLR

CPU = torch.device("cpu")
CONFIG = ProbeConfig(k=3)


@pytest.fixture
def made(tmp_path):
    for label, value in (("dark", 40), ("light", 220)):
        (tmp_path / label).mkdir()
        for i in range(20):
            Image.new("L", (8, 8), value + i - 10).save(tmp_path / label / f"{i}.png")
    train = load_train(DataConfig(source=str(tmp_path)))
    torch.manual_seed(0)
    return train, TimmBackbone(train.spec, name="resnet18", width=0.125)


def test_queries_are_searched_among_the_rows_of_the_gallery(made):
    """The rows are made to answer all queries right, then all wrong; other rows would disturb."""
    train, backbone = made
    run_info = RunInfo(num_instances=len(train), batch_size=4, num_batches=1)
    npid, split = NPID(backbone, run_info, output_dim=8, negatives=4), probe_split(train, None)
    npid.eval()
    pixels, _ = train[split.query_rows]
    normal = (pixels / 255 - train.spec.mean[0]) / train.spec.std[0]
    asked = npid.project(backbone(normal)).detach()
    labels = train.labels[split.query_rows]
    centers = torch.stack([asked[labels == label].mean(0) for label in (0, 1)])
    npid.train()
    for right in (True, False):
        theirs = train.labels if right else 1 - train.labels
        npid.bank.embeddings.copy_(F.normalize(centers - centers.mean(0), dim=1)[theirs])
        npid.bank.embeddings[split.query_rows] *= -1
        found = bank_probe(npid, split, config=CONFIG, device=CPU)
        assert found == {"bank_knn_top1": float(right)}
        assert npid.training and backbone.training


def test_other_methods_and_images_without_labels_have_none(made):
    train, backbone = made
    run_info = RunInfo(num_instances=len(train), batch_size=4, num_batches=1)
    split = probe_split(train, None)
    assert bank_probe(SimCLR(backbone, run_info), split, config=CONFIG, device=CPU) == {}
    assert bank_probe(NPID(backbone, run_info), None, config=CONFIG, device=CPU) == {}
