"""Write a network as a graph that runs without the toolkit, and run it."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from ssl_dml.exporting.network import ImageEmbedder, SequenceEmbedder
from ssl_dml.types import ConfigError, ImageSpec, one_line

Run = Callable[[np.ndarray], np.ndarray]
OPSET = 18  # which onnxruntime-web has, too
NEEDED = ("onnx", "onnxruntime", "onnxscript")


def check_installed(what: str) -> None:
    """Raise if a library of the extra ``export`` is missing.

    Raises:
        ConfigError: With how to install it.
    """
    for name in NEEDED:
        if find_spec(name) is None:
            raise ConfigError(f"{what} needs {name}: pip install 'ssl_dml[export]'")


def traced(network: ImageEmbedder | SequenceEmbedder) -> ExportedProgram:
    """The network as a program of any batch size, and any size of image or length.

    Raises:
        ConfigError: If torch cannot trace it.
    """
    spec = network.inputs
    if isinstance(spec, ImageSpec):
        height, width = spec.sides
        example = torch.zeros(2, height + 5, width + 9, spec.channels, dtype=torch.uint8)
        free = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC, 2: Dim.DYNAMIC}
    else:
        example = torch.zeros(2, spec.channels, spec.length + 5)
        free = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC}
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(network, (example,), dynamic_shapes=(free,))
    except Exception as error:  # the tracer raises many types
        raise ConfigError(
            f"{type(network.backbone).__name__} cannot be traced: {one_line(error)}; "
            "--to safetensors writes its weights"
        ) from error


def write_onnx(program: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a program as one file of ONNX.

    Args:
        program: What :func:`traced` returned.
        path: The file.
        metadata: What the file says of itself.

    Raises:
        ConfigError: If ONNX has no operator for a step of the network.
    """
    try:
        with quiet():
            written: Any = torch.onnx.export(
                program, (), dynamo=True, opset_version=OPSET, verbose=False,
                output_names=["embeddings"],
            )  # fmt: skip
    except Exception as error:  # the exporter raises many types
        reason = one_line(error)
        raise ConfigError(f"there is no ONNX of it: {reason}; --to torch_export may do") from error
    written.model.metadata_props.update(metadata)
    written.save(path)


def run_onnx(path: Path) -> Run:
    """A function that runs a file of ONNX on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda samples: np.asarray(session.run(None, {name: samples})[0])


def write_int8(source: Path, path: Path) -> None:
    """Quantize the weights of a file of ONNX to 8 bits; activations are quantized as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        # One scale a channel: of one a tensor, small channels keep few of the 256 values.
        quantize_dynamic(source, path, per_channel=True, weight_type=QuantType.QUInt8)


def write_program(program: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a program as ``torch.export.load`` reads it."""
    content = io.BytesIO()
    with quiet():
        torch.export.save(program, content, extra_files=dict(metadata))
    path.write_bytes(content.getvalue())


def run_program(path: Path) -> Run:
    """A function that runs what :func:`write_program` wrote."""
    module = torch.export.load(io.BytesIO(path.read_bytes())).module()

    def run(samples: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(samples)).numpy()

    return run


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the exporters tell their developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
