"""A small network as ONNX and as a program of torch, run without the toolkit."""

import logging
import warnings

import jaxtyping
import numpy as np
import pytest
import torch

from ssl_dml.backbones import TimmBackbone
from ssl_dml.exporting import graph
from ssl_dml.exporting.network import embedder
from ssl_dml.types import ConfigError, ImageSpec

SPEC = ImageSpec(channels=1, size=16, mean=(0.3,), std=(0.3,))
TINY = {"name": "resnet18", "width": 0.125, "options": {"layers": [1, 1, 1, 1]}}


@pytest.fixture(autouse=True)
def _traceable(monkeypatch):
    """A traced size is a symbol, which is no integer to the checks of shapes in tests."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.slow
def test_programs_give_what_the_network_gives_for_any_batch_and_size(tmp_path):
    torch.manual_seed(0)
    network = embedder(TimmBackbone(SPEC, **TINY).eval())
    program = graph.traced(network)
    graph.write_program(program, tmp_path / "m.pt2", {"a": "b"})
    graph.write_onnx(program, tmp_path / "m.onnx", {"a": "b"})
    graph.write_int8(tmp_path / "m.onnx", tmp_path / "int8.onnx")
    runs = [graph.run_program(tmp_path / "m.pt2"), graph.run_onnx(tmp_path / "m.onnx")]
    for shape in ((1, 16, 16, 1), (3, 40, 21, 1)):
        samples = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        with torch.no_grad():
            wanted = network(torch.from_numpy(samples)).numpy()
        for run in runs:
            np.testing.assert_allclose(run(samples), wanted, atol=1e-5)
        small = graph.run_onnx(tmp_path / "int8.onnx")(samples)
        assert ((small * wanted).sum(1) > 0.98).all()  # cosines, as rows have unit length


def test_what_cannot_be_traced_is_one_line():
    class Odd(torch.nn.Module):
        def forward(self, images):
            return images if images.sum() > 0 else -images

    network = embedder(TimmBackbone(SPEC, **TINY).eval())
    network.backbone = Odd()
    with pytest.raises(ConfigError, match=r"Odd cannot be traced: .*--to safetensors") as caught:
        graph.traced(network)
    assert "\n" not in str(caught.value)


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    graph.check_installed("--to onnx")
    monkeypatch.setattr(graph, "NEEDED", ("onnx", "no_such_library"))
    with pytest.raises(ConfigError, match=r"--to onnx needs no_such_library: .*ssl_dml\[export\]"):
        graph.check_installed("--to onnx")


def test_quiet_is_over_at_its_end(capsys):
    with pytest.raises(ValueError, match="x"), graph.quiet():
        print("progress of an exporter")
        warnings.warn("a warning", stacklevel=1)
        raise ValueError("x")
    assert capsys.readouterr().out == ""
    assert logging.root.manager.disable == 0
