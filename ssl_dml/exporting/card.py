"""A model card, made of what a run has written."""

import json
import math
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

import ssl_dml
from ssl_dml.reading import read_json, reading
from ssl_dml.threshold_file import Threshold
from ssl_dml.types import ImageSpec
from ssl_dml.yaml_text import read_yaml

MEASURES = ("knn", "linear", "retrieval", "label_distances")
SHARES = ("recall_at_", "knn_top1", "linear_top1", "top1")
SECTIONS = ("method", "head", "backbone", "augment", "optimizer", "train", "seed", "init")
LIBRARIES = ("torch", "timm", "torchvision", "safetensors", "numpy")
LOADING = {
    "ssl_dml": """import ssl_dml

model = ssl_dml.load("{folder}")
rows = model.embed(["a.png", "b.png"])""",
    "timm": """import timm

model = timm.create_model("local-dir:{folder}", pretrained=True).eval()
# once it is uploaded: timm.create_model("hf-hub:USER/NAME", pretrained=True)""",
}


_DRIFT = (
    "\n`sketch` holds embeddings of some of its training data, without names: "
    "`ssl_dml drift --run {folder} NEW_DATA` tests whether new data are like them."
)


def model_card(
    run: Path | None,
    saved: Mapping[str, Any],
    *,
    library: str,
    dim: int,
    name: str,
    license: str | None,
    sketch: bool = False,
    threshold: Threshold | None = None,
) -> str:
    """Text of ``README.md``: what the model is, how it was made and measured, and how to load it.

    No path of the machine is in it: of a source there is the last name alone.

    Args:
        run: The run folder, if there is one.
        saved: ``backbone.json``, with the samples as ``inputs``.
        library: ``ssl_dml`` or ``timm``, which loads it.
        dim: Dimension of an embedding.
        name: Of the folder.
        license: Short name of its license, such as ``apache-2.0``; None if it has none.
        sketch: Whether a sketch of the training data is in the folder.
        threshold: From which cosine on two samples are the same, if that was calibrated.
    """
    spec, trained = saved["inputs"], saved.get("trained") or {}
    images = isinstance(spec, ImageSpec)
    head: dict[str, Any] = {
        "library_name": library,
        "pipeline_tag": "image-feature-extraction" if images else "feature-extraction",
        "tags": ["image-embedding" if images else "audio-embedding", "ssl_dml"],
    }
    if license is not None:
        head["license"] = license
    method = str(trained.get("method") or trained.get("head") or "").rpartition(".")[2]
    what = "images" if images else "sequences"
    sections = {
        "How to load it": f"```python\n{LOADING[library].format(folder=name)}\n```\n"
        "\nDownload the folder first, for example with `hf download`, and name where it is.",
        "Data": "\n".join(_data(trained.get("data") or {}, spec)),
        "Recipe": "\n".join(_recipe(run, trained)),
        "Measures": "\n".join(_measures(run, trained.get("data") or {})),
        "Threshold": "\n".join(_threshold(threshold, library)),
        "Limits": "It knows what the data above show. Embeddings of other kinds of samples may "
        "say nothing, and what is common in the data may count as similar. It was not tested for "
        "decisions about people." + (_DRIFT.format(folder=name) if sketch else ""),
        "License": _license(license),
        "Versions": _versions(saved),
    }
    title = f"# {name}\n\nEmbeds {what} as {dim} values" + (
        f"; trained by {method}." if method else "."
    )
    body = "\n\n".join(f"## {key}\n\n{text}" for key, text in sections.items())
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{title}\n\n{body}\n"


def short(source: object) -> str:
    """Last name of a source: what stands before it is of the machine."""
    return Path(str(source)).name or str(source)


def _data(data: Mapping[str, Any], spec: Any) -> Iterator[str]:  # noqa: ANN401
    if data:
        yield f"- Source: `{short(data.get('source'))}`, {data.get('samples', 0):,} samples."
    labels = data.get("labels")
    if isinstance(labels, Mapping):
        unknown = labels.get("unlabeled", 0)
        yield f"- Labels: {labels.get('classes')} classes, {unknown:,} samples without one."
    if data.get("test_samples"):
        yield f"- Tested on {data['test_samples']:,} samples."
    if isinstance(spec, ImageSpec):
        height, width = spec.sides
        yield f"- Input: {height}x{width} pixels, {spec.channels} channels, view {spec.test_view}."
    else:
        rate = f" at {spec.sampling_rate:,} a second" if spec.sampling_rate else ""
        yield f"- Input: {spec.length:,} values{rate}, {spec.channels} channels."
    means, stds = ([round(value, 4) for value in values] for values in (spec.mean, spec.std))
    yield f"- Normalization: mean {means}, standard deviation {stds}."


def _recipe(run: Path | None, trained: Mapping[str, Any]) -> Iterator[str]:
    if run is None:
        steps = (
            f"{trained['steps']:,} steps" if isinstance(trained.get("steps"), int) else "unknown"
        )
        yield f"The run is not at hand; {steps}."
        return
    config = read_yaml(run / "config.yaml")
    kept = {key: config[key] for key in SECTIONS if isinstance(config, dict) and key in config}
    if kept.get("init"):
        kept["init"] = short(kept["init"])
    data = config.get("data") if isinstance(config, dict) else None
    if isinstance(data, dict):
        kept["data"] = {k: data[k] for k in ("batch_size", "image_size") if k in data}
    kept = json.loads(json.dumps(kept))  # plain texts, which YAML writes
    yield f"```yaml\n{yaml.safe_dump(kept, sort_keys=False).strip()}\n```"


def _measures(run: Path | None, data: Mapping[str, Any]) -> Iterator[str]:
    rows = list[str]()
    paths = [] if run is None else [run / f"{name}.json" for name in MEASURES]
    for path in filter(Path.exists, paths):
        name = path.stem
        with reading(str(path), "evaluate again", foreign=False):
            found = read_json(path)
            queries = int(found.get("queries") or 0)
            if not queries and data.get("test_labels"):
                queries = int(data.get("test_samples") or 0)
            for key, value in found.items():
                if isinstance(value, int | float) and key not in ("queries", "left_out"):
                    rows.append(
                        f"| {name} | {key} | {value:.4f} | {_interval(key, value, queries)} |"
                    )
    if not rows:
        yield "None yet: `ssl_dml evaluate --config knn --run RUN` measures it."
        return
    yield "| evaluation | measure | value | 95% interval |\n|---|---|---|---|"
    yield from rows
    yield (
        "\nIntervals are Wilson's, of a fraction of the queries; they say nothing of another "
        "training run or of other data."
    )


def _threshold(threshold: Threshold | None, library: str) -> Iterator[str]:
    if threshold is None:
        yield (
            "No threshold of similarity comes with it: choose one on your own pairs, with "
            "`ssl_dml threshold TABLE`."
        )
        return
    yield from (f"- {line}" for line in threshold.lines())
    yield "\nIt promises this of identities like those that it was calibrated with."
    if library == "ssl_dml":
        yield '`model.same("a.png", "b.png")` decides by it.'


def _interval(key: str, value: float, queries: int) -> str:
    """Wilson's 95% interval of a fraction of queries; nothing for other measures."""
    if not (queries and key.startswith(SHARES) and 0 <= value <= 1):
        return ""
    low, high = wilson(value, queries)
    return f"{low:.4f} to {high:.4f}"


def wilson(share: float, count: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Interval of a fraction (Wilson, 1927, doi:10.1080/01621459.1927.10502953).

    >>> [round(end, 3) for end in wilson(0.5, 100)]
    [0.404, 0.596]
    """
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / count / 2) ** 2)
    return middle - half, middle + half


def _license(name: str | None) -> str:
    if name is None:
        return (
            "None was given, so nobody but its owner may use the model; `--license apache-2.0`, "
            "for example, gives one. The license of the data, and of weights it began from, counts "
            "too."
        )
    return f"{name}. The license of the data, and of weights it began from, counts too."


def _versions(saved: Mapping[str, Any]) -> str:
    ours = f"trained with ssl_dml {saved.get('ssl_dml', 'unknown')}"
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    own = f"ssl_dml {ssl_dml.__version__}, {libraries}, Python {platform.python_version()}"
    return f"{ours}; exported with {own}."
