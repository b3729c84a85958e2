"""A folder of weights that names no file of the machine."""

import json

import torch

from ssl_dml.backbones import TimmBackbone, load
from ssl_dml.exporting.published import write_weights
from ssl_dml.types import ImageSpec

NAME, OPTIONS = "ssl_dml.backbones.TimmBackbone", {"name": "resnet18", "width": 0.125}


def test_it_is_loaded_again_and_says_nothing_of_this_machine(tmp_path):
    backbone = TimmBackbone(ImageSpec.imagenet(32), **OPTIONS).eval()
    data = {"source": "/home/someone/images", "samples": 9, "labels": {"largest_class": ["me", 3]}}
    saved = {
        "class_path": NAME,
        "init_args": OPTIONS,
        "images": {"channels": 3, "size": 32, "mean": [0.5] * 3, "std": [0.2] * 3},
        "inputs": backbone.inputs,
        "trained": {"steps": 5, "data": data},
    }
    write_weights(backbone, saved, tmp_path)
    again = load(tmp_path)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(images), backbone(images))
    text = (tmp_path / "backbone.json").read_text()
    assert json.loads(text)["trained"] == {"steps": 5, "data": {"source": "images", "samples": 9}}
    assert "someone" not in text
    assert saved["trained"]["data"] is data  # what was given is left as it was
    assert "labels" in data
