import json

import numpy as np
import pytest
import torch
from benchmarks import drift_table
from PIL import Image

from ssl_dml.backbones import TimmBackbone, save
from ssl_dml.data import DataConfig, load_train
from ssl_dml.evaluation.sketch import sketch_samples
from ssl_dml.types import ImageSpec

RESNET = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


@pytest.mark.slow
def test_the_table_counts_alarms(tmp_path):
    rng, spec = np.random.default_rng(0), ImageSpec(channels=1, size=12, mean=(0.5,), std=(0.3,))
    for name, count in (("old", 60), ("unseen", 40)):
        (tmp_path / name).mkdir()
        for i in range(count):
            pixels = rng.integers(0, 256, (12, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    network, folder = TimmBackbone(spec, **RESNET), tmp_path / "run/backbone"
    decoder = {"channels": 1, "size": 12, "low": 0.0, "high": 255.0}
    trained = {"data": {"decoder": decoder}}
    save(network, folder, "ssl_dml.backbones.TimmBackbone", RESNET, trained=trained)
    (tmp_path / "run/config.yaml").touch()
    source = {"source": str(tmp_path / "old"), "of": "training samples"}
    train = load_train(DataConfig(source=source["source"], mean=(0.5,), std=(0.3,)))
    rows, device = torch.arange(len(train)), torch.device("cpu")
    sketch_samples(network, train, rows, folder, device=device, **source)
    place = {"unseen": tmp_path / "unseen", "output": tmp_path / "found.json"}
    found = drift_table(run=tmp_path / "run", rows=30, tests=20, changed=5, **place)
    assert found == json.loads((tmp_path / "found.json").read_text())
    assert found["unseen"] <= 0.2
    assert found["blur"] == found["darker"] == 1
