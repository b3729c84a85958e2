"""Write a trained network for others: ``ssl_dml export --run FOLDER --to onnx --output PATH``."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import ssl_dml
from ssl_dml.backbones import Backbone, initial
from ssl_dml.backbones.digest import weights_digest
from ssl_dml.backbones.initial import ROUTES, TIMM
from ssl_dml.backbones.saved import METADATA, SPECS, read_metadata
from ssl_dml.backbones.timm_folder import write_timm_folder
from ssl_dml.checks import named
from ssl_dml.commands.finished import data_of
from ssl_dml.config import parse
from ssl_dml.data import DataConfig, load_train
from ssl_dml.data.config import decoded_for
from ssl_dml.evaluation.sketch import SKETCH, publish_sketch
from ssl_dml.exporting import graph
from ssl_dml.exporting.card import model_card
from ssl_dml.exporting.checking import TOLERANCE, Difference, Original, same_neighbors
from ssl_dml.exporting.network import embedder
from ssl_dml.exporting.published import write_weights
from ssl_dml.files import replacing, write_text
from ssl_dml.progress import say
from ssl_dml.threshold_file import Threshold, read_threshold, write_threshold
from ssl_dml.types import ConfigError, ImageSpec

GRAPHS = {"onnx": ".onnx", "torch_export": ".pt2"}


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What to write, and of which network.

    Args:
        to: ``onnx`` or ``torch_export``: a file that takes bytes of images, or values of audio, and
            gives embeddings of length 1. ``safetensors``: weights and how to build the network.
            ``timm``: a folder that timm loads. ``hub``: a folder to upload, with a model card.
        output: File or folder to write; it must not exist.
        run: Run folder whose network is written.
        model: Which network of the run: after the last step, or the best.
        weights: Saved backbone instead of a run, or published weights such as ``timm:NAME``.
        samples: Images that a file is checked on, as ``data.source`` names them; null for those of
            the run, or for embedded ones.
        int8: Quantize the weights of ``onnx`` to 8 bits, and say what that costs.
        license: License of the model, for its card, such as ``apache-2.0``.
    """

    to: Literal["onnx", "torch_export", "safetensors", "timm", "hub"]
    output: Path
    run: Path | None = None
    model: Literal["backbone", "best"] = "backbone"
    weights: str | None = None
    samples: str | None = None
    int8: bool = False
    license: str | None = None

    def __post_init__(self) -> None:
        if (self.run is None) == (self.weights is None):
            raise ConfigError("name the network by one of --run and --weights")
        if self.int8 and self.to != "onnx":
            raise ConfigError(f"--int8 true is for --to onnx, got --to {self.to}")
        wanted = GRAPHS.get(self.to)
        if wanted is not None and self.output.suffix != wanted:
            raise ConfigError(f"--output must be a file such as x{wanted}, got {self.output}")
        if named("output", self.output).exists():
            raise ConfigError(f"--output {self.output} exists; remove it, or name another")


@dataclass(frozen=True)
class Opened:
    """A network to export.

    Args:
        backbone: The network.
        saved: What ``backbone.json`` says of it.
        folder: Where it is saved; None for published weights.
        threshold: What ``threshold.json`` beside it says, if that is of these weights.
    """

    backbone: Backbone
    saved: dict[str, Any]
    folder: Path | None = None
    threshold: Threshold | None = None


def export(config: ExportConfig) -> None:
    """Write the network whole, checked, or not at all; say how far it is from the original."""
    if config.to == "onnx":
        graph.check_installed("--to onnx")
    opened = _open(config)
    output = config.output.expanduser()
    output.parent.mkdir(parents=True, exist_ok=True)
    if config.to in GRAPHS:
        _write_graph(config, opened, output)
    else:
        with replacing(output, folder=True) as partial:
            FOLDERS[config.to](config, opened, partial)
    files = [output] if output.is_file() else list(output.rglob("*"))
    say(f"{output}: {sum(path.stat().st_size for path in files) / 1e6:,.1f} MB")


def _open(config: ExportConfig) -> Opened:
    name = config.weights
    if name is not None and name.partition(":")[0] in ROUTES:
        begin = initial(name, TIMM, {})
        assert begin.preset is not None
        backbone = begin.backbone(begin.preset).eval()
        kind = next(key for key, spec in SPECS.items() if isinstance(backbone.inputs, spec))
        saved = {
            "class_path": begin.class_path, "init_args": begin.init_args,
            kind: asdict(backbone.inputs), "feature_dim": backbone.feature_dim,
            "trained": {"init": name}, "ssl_dml": ssl_dml.__version__, "inputs": backbone.inputs,
        }  # fmt: skip
        return Opened(backbone, saved)
    run = config.run
    if run is not None and not (run / "config.yaml").exists():
        raise ConfigError(f"--run {str(run)!r} is no run folder: it has no config.yaml")
    folder = Path(str(name)).expanduser() if run is None else run / config.model
    if run is None and (folder / "config.yaml").exists() and not (folder / METADATA).exists():
        folder /= config.model
    if not folder.exists():
        missing = "backbone yet: finish it with --resume true"
        if config.model == "best":
            missing = "best model; leave --model out"
        raise ConfigError(f"{folder.parent} has no {missing}" if run else f"--weights {name!r}: "
                          "there is no such folder")  # fmt: skip
    try:
        saved = read_metadata(folder)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    backbone = initial(folder, TIMM, {}).backbone(saved["inputs"]).eval()
    threshold = read_threshold(folder)
    if threshold is not None:
        made = threshold.pool, threshold.views, threshold.dim
        threshold.check(folder, weights_digest(backbone), *made)
    return Opened(backbone, saved, folder, threshold)


def _original(config: ExportConfig, backbone: Backbone) -> Original:
    """The network with real samples: those named, of the run, or embedded ones."""
    if config.samples is None and config.run is not None:
        data = data_of(config.run)
    elif isinstance(backbone.inputs, ImageSpec):
        data = DataConfig(source=config.samples or "fashion_mini")
    else:
        raise ConfigError("--weights of sequences: name their --run, to check them on its data")
    return Original(backbone, load_train(decoded_for(data, backbone.inputs)))


def _write_graph(config: ExportConfig, opened: Opened, output: Path) -> None:
    original = _original(config, opened.backbone)
    program = graph.traced(embedder(opened.backbone))
    about = {
        "ssl_dml": ssl_dml.__version__,
        "digest": weights_digest(opened.backbone),
        "inputs": json.dumps(asdict(opened.backbone.inputs)),
    }
    with replacing(output) as beside:
        if config.to == "onnx":
            graph.write_onnx(program, beside, about)
            run = graph.run_onnx(beside)
        else:
            graph.write_program(program, beside, about)
            run = graph.run_program(beside)
        _tell(original.difference(run), len(original.rows))
        if config.int8:
            size = beside.stat().st_size
            before = original.embeddings(run)
            graph.write_int8(beside, beside)
            after = original.embeddings(graph.run_onnx(beside))
            say(
                f"int8: {beside.stat().st_size / size:.0%} of the size; of the 10 nearest of "
                f"{len(before):,} samples, {same_neighbors(before, after):.1%} are still among "
                f"them; mean cosine to the original {(before * after).sum(1).mean():.4f}"
            )


def _tell(found: Difference, count: int) -> None:
    """Say how far it is; raise if that is too far.

    Raises:
        ConfigError: With the difference.
    """
    if not found.own <= TOLERANCE:
        raise ConfigError(
            f"what was exported differs from the original by {found.own:.1e}, where at most "
            f"{TOLERANCE:.0e} is allowed, and nothing was written"
        )
    say(f"largest difference on {count} samples as the network takes them: {found.own:.1e}")
    if found.other is not None:
        say(f"on images of other sizes, resized in it and by Pillow: {found.other:.1e}")


def _write_safetensors(_: ExportConfig, opened: Opened, folder: Path) -> None:
    write_weights(opened.backbone, opened.saved, folder)
    if opened.folder is not None:
        publish_sketch(opened.folder, folder)


def _write_timm(config: ExportConfig, opened: Opened, folder: Path) -> None:
    difference = write_timm_folder(opened.backbone, folder)
    say(f"loaded again by timm; largest difference, relative to the features: {difference:.1e}")
    _write_card(config, opened, folder, "timm")


def _write_hub(config: ExportConfig, opened: Opened, folder: Path) -> None:
    _write_safetensors(config, opened, folder)
    if opened.threshold is not None:
        write_threshold(folder, opened.threshold)
    _write_card(config, opened, folder, "ssl_dml")


def _write_card(config: ExportConfig, opened: Opened, folder: Path, library: str) -> None:
    card = model_card(
        config.run, opened.saved, library=library, dim=opened.backbone.feature_dim,
        name=config.output.name, license=config.license, sketch=(folder / SKETCH).exists(),
        threshold=opened.threshold,
    )  # fmt: skip
    write_text(folder / "README.md", card)
    with suppress(ImportError):
        from huggingface_hub import ModelCard

        ModelCard(card)  # its metadata can be read


FOLDERS: dict[str, Callable[[ExportConfig, Opened, Path], None]] = {
    "safetensors": _write_safetensors,
    "timm": _write_timm,
    "hub": _write_hub,
}


def main(args: list[str] | None = None) -> None:
    """Parse the command line and export."""
    config, _ = parse(ExportConfig, args, kind="export")
    export(config)
