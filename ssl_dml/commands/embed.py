"""Embed a data set into a table on disk: ``ssl_dml embed --run FOLDER --output TABLE``."""

import sys
from argparse import ArgumentParser
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator
from torch import nn

import ssl_dml
from ssl_dml.augment import Normalize
from ssl_dml.backbones import Backbone, Initial, initial
from ssl_dml.backbones.digest import weights_digest
from ssl_dml.backbones.initial import TIMM
from ssl_dml.backbones.pooled import Pooled
from ssl_dml.backbones.prefix import Prefix
from ssl_dml.backbones.saved import METADATA, read_metadata
from ssl_dml.checks import at_least, named
from ssl_dml.commands.finished import data_of, model_folder
from ssl_dml.config import parse
from ssl_dml.data import DataConfig, SampleSet, load_test, load_train
from ssl_dml.data.config import as_published, decoded_for
from ssl_dml.data.on_demand import OnDemand
from ssl_dml.data.understood import announce
from ssl_dml.evaluation.averaged import Averaged, Views
from ssl_dml.evaluation.embed_table import embed_table
from ssl_dml.evaluation.forms import stored_recall
from ssl_dml.files import as_json
from ssl_dml.progress import say
from ssl_dml.tables import DType, StoredTable, TableInfo
from ssl_dml.training.accelerator import use_processor
from ssl_dml.training.run_folder import locked
from ssl_dml.types import ConfigError, ImageSpec
from ssl_dml.yaml_text import read_yaml


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """What to embed, and with which model.

    Args:
        output: Folder of the table. What an earlier call has finished there is kept.
        run: The run whose model embeds.
        model: Which model of the run: after the last step, or the best.
        weights: Weights that embed instead: a run or saved backbone, ``timm:NAME``,
            ``hf:USER/NAME`` or ``torchvision:NAME``; or a file of the network of the run.
        data: Samples to embed, decoded as in training, by default those of the run; damaged ones
            are left out and listed.
        split: Which samples of a source with splits.
        dtype: How embeddings are stored: float32; float16; int8, with a scale for each row; bit,
            whether each value of a row of length 1 is above its mean.
        dim: First values of each embedding to store, scaled to length 1, where the model was
            trained with ``ordered`` or ``nested``; null for all as they are.
        pool: How features are pooled, where the network allows it: mean, cls, gem, or layer:N;
            null for as it was trained.
        views: Views of a sample whose embeddings are averaged: one; flip, also mirrored; crops,
            ten of corners and center.
        batch_size: Samples that a process encodes at once.
        shard_rows: Rows of a file of the table.
        trust: Import the module of any class that a saved backbone names.
    """

    output: Path
    run: Path | None = None
    model: Literal["backbone", "best"] = "backbone"
    weights: str | None = None
    data: DataConfig
    split: Literal["train", "test"] = "train"
    dtype: DType = "float32"
    dim: int | None = None
    pool: str | None = None
    views: Views = "one"
    batch_size: int = 256
    shard_rows: int = 65_536
    trust: bool = False

    def __post_init__(self) -> None:
        at_least(1, "embed", batch_size=self.batch_size, shard_rows=self.shard_rows)
        if self.run is None and self.weights is None:
            raise ConfigError("name a model: --run FOLDER, or --weights timm:NAME")
        named("output", self.output)


def embed(config: EmbedConfig) -> Path:
    """Load the model, embed every sample, write the table.

    Returns:
        The folder of the table.

    Raises:
        ConfigError: If model, data or what the folder holds do not fit together.
    """
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    use_processor(None)
    with locked(config.output, "output"):
        begin, samples = opened(config)
        _say_if_not_nested(config, begin)
        backbone = begin.backbone(samples.spec).eval()
        weights = str(config.weights or model_folder(cast(Path, config.run), config.model))
        place = Path(weights).expanduser()
        info = TableInfo(
            rows=len(samples),
            dim=backbone.feature_dim,
            dtype=config.dtype,
            class_names=samples.class_names if samples.labels is not None else None,
            weights={
                "digest": weights_digest(backbone),
                "path": str(place.absolute()) if place.exists() else weights,
            },
            data=_origin(config, samples),
            inputs=asdict(backbone.inputs),
            pool=config.pool,
            views=config.views,
            modality="image" if isinstance(backbone.inputs, ImageSpec) else "sequence",
            version=ssl_dml.__version__,
        )
        _write(config, backbone, samples, info, accelerator.device)
    accelerator.end_training()
    return config.output


def opened(config: EmbedConfig, record: str = "table.json") -> tuple[Initial, SampleSet]:
    """Where the model is from, and the samples to embed, decoded as those of its training.

    Args:
        config: What to embed.
        record: File that will name the damaged samples.
    """
    folder = None if config.run is None else model_folder(config.run, config.model)
    own: dict[str, Any] = {} if folder is None else read_metadata(folder)
    network = own.get("class_path", TIMM), own.get("init_args", {})
    begin = initial(config.weights or folder, *network, trust=config.trust)
    if begin.inputs is None and begin.preset is None:  # a file says nothing of its network
        if not own:
            raise ConfigError(f"--weights {config.weights!r} is a file; name its network by --run")
        begin = replace(begin, inputs=own["inputs"])
    data = _decoded_alike(replace(config.data, on_error="skip"), begin)
    train = load_train(decoded_for(as_published(data, begin.preset), begin.inputs))
    test = load_test(data, train) if config.split == "test" else None
    if config.split == "test" and test is None:
        raise ConfigError(f"data.source {data.source!r} has no test samples; leave --split out")
    samples = train if test is None else test
    announce(samples, None, record=record)
    if isinstance(samples.samples, OnDemand):
        samples.samples.skip_damaged = False  # nothing takes the place of a file that is gone
    return begin, samples


def _decoded_alike(data: DataConfig, begin: Initial) -> DataConfig:
    """The data with the range of values of training, where the weights say which that was."""
    place = Path(begin.source or "")
    if data.value_range is not None or data.sequences is not None or begin.read is not None:
        return data
    if not (place / METADATA).exists():
        return data
    decoder = read_metadata(place)["trained"].get("data", {}).get("decoder", {})
    known = "low" in decoder and "high" in decoder
    return replace(data, value_range=(decoder["low"], decoder["high"])) if known else data


def _origin(config: EmbedConfig, samples: SampleSet) -> dict[str, Any]:
    """What ``table.json`` says of the samples."""
    data = config.data
    source = data.source if config.split == "train" else data.test_source or data.source
    place = Path(source).expanduser()
    return {
        "source": str(place.absolute()) if place.exists() else source,
        "split": config.split,
        "fingerprint": samples.fingerprint,
        "damaged": samples.damaged,
        "notes": samples.notes,
    }


def _write(
    config: EmbedConfig,
    backbone: Backbone,
    samples: SampleSet,
    info: TableInfo,
    device: torch.device,
) -> None:
    network: Backbone = backbone if config.pool is None else Pooled(backbone, config.pool)
    if config.dim is not None:
        network = Prefix(network, config.dim)
    layers = Normalize(backbone.inputs), Averaged(network, config.views)
    encode = nn.Sequential(*layers).eval().to(device)
    sizes = {"batch_size": config.batch_size, "shard_rows": config.shard_rows}
    info = replace(info, dim=network.feature_dim)
    try:
        sample = embed_table(encode, samples, config.output, info, device=device, **sizes)
    except OSError as error:
        raise OSError(
            f"--output {config.output} cannot be written: {error.strerror or error}; what is "
            "finished stays, and the same command goes on"
        ) from error
    say(
        f"{config.output}: {info.rows:,} embeddings of {info.dim} dimensions as {info.dtype}; "
        f'in Python: ssl_dml.EmbeddingTable.open("{config.output}")'
    )
    if info.dtype != "float32" and len(sample) > 1:
        levels = StoredTable(config.output).info.of_bits
        mean, low, high = stored_recall(sample, info.dtype, levels)
        say(
            f"{info.dtype} keeps {mean:.1%} of the ten nearest rows that float32 finds (95% "
            f"interval {low:.1%} to {high:.1%}; recall@10 among {len(sample):,} of the rows)"
        )


def _say_if_not_nested(config: EmbedConfig, begin: Initial) -> None:
    """Say so where a prefix is taken of a model that was not trained to be used at it."""
    if config.dim is None:
        return
    place, dims = Path(begin.source or ""), None
    if config.pool is None and (place / METADATA).exists():
        trained = read_metadata(place)["trained"]
        if trained.get("ordered"):
            return
        dims = trained.get("nested")
    if not isinstance(dims, list) or config.dim not in dims:
        trained = f"with prefixes of {dims}" if dims else "as a whole"
        say(
            f"--dim {config.dim}: the model was trained {trained}, so what its first {config.dim} "
            "values keep is up to chance; ssl_dml evaluate --evaluator compact measures it, and "
            "finetune --ordered true makes prefixes that can be used"
        )


def data_of_run(args: list[str]) -> list[str]:
    """The data of the run that is named, where the command line names none."""
    own = ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--run")
    own.add_argument("--data.source", dest="source")
    known, _ = own.parse_known_args(args)
    if known.run is None or known.source is not None:
        return []
    run = Path(known.run)
    model_folder(run, "backbone")  # it is a finished run
    data_of(run)  # whose data can be read
    return [f"--data={as_json(read_yaml(run / 'config.yaml')['data'])}"]


def main(args: list[str] | None = None) -> Path:
    """Parse the command line and embed; return the folder of the table."""
    args = list(sys.argv[1:] if args is None else args)
    config, _ = parse(EmbedConfig, [*data_of_run(args), *args], kind="embed")
    return embed(config)
