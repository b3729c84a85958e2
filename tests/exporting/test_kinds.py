"""Every kind of network to every kind of export: the table of docs/export.md."""

import importlib

import jaxtyping
import numpy as np
import pytest
import soundfile
import torch

from ssl_dml.backbones import save
from ssl_dml.commands import export
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec

SMALL = {"name": "resnet18", "width": 0.25}
STANDARD = {"name": "resnet18", "stem": "standard"}
GRAY = ImageSpec(channels=1, size=28, mean=(0.29,), std=(0.35,))
COLOR = ImageSpec.imagenet(64)
AUDIO = SequenceSpec(channels=1, length=3200, mean=(0.0,), std=(0.1,), sampling_rate=16_000)
NECK = {"class_path": "ssl_dml.backbones.TimmBackbone", "init_args": STANDARD, "dim": 32}
NETWORKS = {
    "small stem": ("TimmBackbone", SMALL, GRAY, "its stem for small images"),
    "resnet": ("TimmBackbone", STANDARD, COLOR, ""),
    "efficientnet": ("TimmBackbone", {"name": "efficientnet_lite0"}, COLOR, ""),
    "vit": ("TimmBackbone", {"name": "vit_tiny_patch16_224"}, COLOR, ""),
    "neck": ("Embedder", NECK, COLOR, ""),
    "edges": ("EdgeBackbone", {"cells": 2, **SMALL}, COLOR, "no network of timm"),
    "patches": ("PatchBackbone", {"patch": 16, "stride": 8, **SMALL}, COLOR, "no network of timm"),
    "gru": ("SequenceBackbone", {"width": 16, "context_dim": 32}, AUDIO, "no network of timm"),
    "log-mel": ("LogMelBackbone", {"parts": 2}, AUDIO, "no network of timm"),
    "transformer": (
        "SequenceBackbone",
        {
            "width": 16,
            "context_dim": 32,
            "context": "transformer",
            "pool": "statistics",
            "parts": 3,
        },
        AUDIO,
        "no network of timm",
    ),
}


@pytest.fixture(autouse=True)
def _traceable(monkeypatch):
    """A traced size is a symbol, which is no integer to the checks of shapes in tests."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def recordings(tmp_path):
    generator, folder = np.random.default_rng(0), tmp_path / "audio"
    folder.mkdir()
    for number, length in enumerate((2000, 3200, 5000, 3000)):
        tone = np.sin(np.arange(length) * (0.1 + 0.05 * number))
        values = 0.3 * tone + 0.05 * generator.normal(size=length)
        soundfile.write(folder / f"{number}.wav", values.astype(np.float32), 16_000)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_leaves_as(name, recordings, tmp_path, capsys):
    kind, arguments, spec, refusal = NETWORKS[name]
    torch.manual_seed(0)
    backbone = getattr(importlib.import_module("ssl_dml.backbones"), kind)(spec, **arguments)
    run = tmp_path / "run"
    run.mkdir()
    save(backbone, run / "backbone", f"ssl_dml.backbones.{kind}", arguments, trained={})
    data = "{source: fashion_mini}"
    if spec is AUDIO:
        sequences = "{sampling_rate: 16000, length: 3200, trim: null}"
        data = f"{{source: {recordings}, sequences: {sequences}}}"
    (run / "config.yaml").write_text(f"data: {data}\n")
    for to, output in (("onnx", "a.onnx"), ("torch_export", "a.pt2"), ("safetensors", "s")):
        export.main(["--run", str(run), "--to", to, "--output", str(tmp_path / output)])
    timm = ["--run", str(run), "--to", "timm", "--output", str(tmp_path / "t")]
    if refusal:
        with pytest.raises(ConfigError, match=refusal):
            export.main(timm)
    else:
        export.main(timm)
    with capsys.disabled():
        print(f"\n{name}:", capsys.readouterr().out)
