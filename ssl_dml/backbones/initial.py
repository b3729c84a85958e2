"""Where a backbone starts from: random weights, a saved one, a file, or published weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import timm
import torchvision
from timm.models import load_model_config_from_hf

from ssl_dml.backbones.base import Backbone
from ssl_dml.backbones.building import build, import_named
from ssl_dml.backbones.embedder import Embedder, Neck
from ssl_dml.backbones.files import read_file
from ssl_dml.backbones.image import TimmBackbone
from ssl_dml.backbones.saved import METADATA, load, read_metadata
from ssl_dml.backbones.weights import fit_weights
from ssl_dml.progress import say
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec, one_line

TIMM = "ssl_dml.backbones.TimmBackbone"
CHECKPOINT = "state.pt"
# Networks of torchvision that timm names otherwise, and what it builds otherwise.
PRECISE: dict[str, Any] = {"bn_eps": 0.001}
TORCHVISION: dict[str, tuple[str, dict[str, Any]]] = {
    "mobilenet_v2": ("mobilenetv2_100", {}),
    "mobilenet_v3_small": ("mobilenetv3_small_100", PRECISE),
    "mobilenet_v3_large": ("mobilenetv3_large_100", PRECISE),
    "mnasnet0_5": ("mnasnet_050", {}),
    "mnasnet1_0": ("mnasnet_100", {}),
    "efficientnet_b5": ("efficientnet_b5", PRECISE),
    "efficientnet_b6": ("efficientnet_b6", PRECISE),
    "efficientnet_b7": ("efficientnet_b7", PRECISE),
    "regnet_y_400mf": ("regnety_004", {}),
    "vit_b_16": ("vit_base_patch16_224", {}),
    "vit_b_32": ("vit_base_patch32_224", {}),
    "vit_l_16": ("vit_large_patch16_224", {}),
}


@final
@dataclass(frozen=True, kw_only=True)
class Initial:
    """A backbone to start from.

    Args:
        class_path: Dotted path of its class.
        init_args: Keyword arguments that build it.
        inputs: The samples it was trained on; None where it takes those of the data.
        preset: Samples that published weights were trained on, which the data follow unless they
            say otherwise; None if unknown.
        source: What ``init`` names; None for random weights.
        read: Reads the tensors of ``source`` by name; None if it is a saved backbone's folder.
    """

    class_path: str
    init_args: dict[str, Any]
    inputs: ImageSpec | SequenceSpec | None = None
    preset: ImageSpec | None = None
    source: str | None = None
    read: Callable[[], Mapping[str, Any]] | None = None

    def arguments(self, *, neck: Neck, dim: int | None) -> dict[str, Any]:
        """What builds the embedding model again."""
        return {
            "class_path": self.class_path, "init_args": self.init_args, "neck": neck, "dim": dim,
        }  # fmt: skip

    def backbone(self, inputs: ImageSpec | SequenceSpec) -> Backbone:
        """The network with the weights it starts from.

        Args:
            inputs: The samples of the data; those of a saved backbone win.

        Raises:
            ConfigError: If the weights do not fit the network.
        """
        if self.source is not None and self.read is None:
            return _load(self.source).train()
        network = build(self.class_path, self.init_args, self.inputs or inputs)
        self.fill(network)
        return network

    def build(self, inputs: ImageSpec | SequenceSpec, *, neck: Neck, dim: int | None) -> Embedder:
        """Backbone and neck, with the weights they start from.

        Args:
            inputs: The samples of the data; those of the saved backbone win.
            neck: What follows the backbone.
            dim: Dimension of an embedding; None keeps that of the features.

        Raises:
            ConfigError: If neck and dimension, or weights and network, do not fit.
        """
        try:
            embedder = Embedder(self.inputs or inputs, **self.arguments(neck=neck, dim=dim))
        except ValueError as error:
            if not str(error).startswith("dim "):
                raise
            raise ConfigError(f"embedding_{error}") from error
        self.fill(embedder.backbone)
        return embedder

    def fill(self, network: Backbone) -> None:
        """Load the weights into the network that was built, and say where they were found."""
        if self.source is None:
            return
        if self.read is None:
            network.load_state_dict(_load(self.source).state_dict())
            return
        content: Mapping[str, Any] = {}
        try:
            content = self.read()
            if isinstance(network, TimmBackbone):
                report = network.load_weights(content)
            else:
                fitted = fit_weights(content, network)
                network.load_state_dict(fitted.state)
                report = fitted.report
        except ConfigError:
            raise
        except ValueError as error:
            name = self.init_args.get("name", self.class_path)
            raise ConfigError(
                f"init {self.source!r} does not fit {name} as it is built here: "
                f"{_other_network(content, self.init_args) or error}"
            ) from error
        say(f"init {self.source}: {report}")


def initial(
    init: str | Path | None, class_path: str, init_args: dict[str, Any], *, trust: bool = False
) -> Initial:
    """The backbone that ``init`` names, or the configured one with or without weights.

    Args:
        init: A run folder or a folder that :func:`~ssl_dml.backbones.save` wrote; a file of
            weights or a checkpoint, for the configured backbone; ``timm:NAME``, ``hf:USER/NAME``
            or ``torchvision:NAME``; None for random weights.
        class_path: Class of the configured backbone.
        init_args: Its arguments.
        trust: Import the module of any class that a saved backbone names.

    Raises:
        ConfigError: If there is no such file, folder or name, or the hub cannot be reached.

    Examples:
        >>> initial(None, "ssl_dml.backbones.TimmBackbone", {"name": "resnet18"}).source is None
        True
        >>> initial("timm:resnet50.a1_in1k", "any.Network", {}).init_args
        {'name': 'resnet50', 'stem': 'standard'}
    """
    if init is None:
        return Initial(class_path=class_path, init_args=init_args)
    where, _, name = str(init).partition(":")
    if where in ROUTES and name:
        return ROUTES[where](name, class_path, init_args)
    path = Path(init).expanduser()
    if not path.exists():
        raise ConfigError(
            f"init {str(init)!r}: there is no such file or folder; published weights are "
            "timm:NAME, hf:USER/NAME or torchvision:NAME"
        )
    if path.is_dir() and (path / CHECKPOINT).exists():
        path /= CHECKPOINT
    if path.is_dir() and not (path / METADATA).exists() and (path / "backbone").is_dir():
        path /= "backbone"
    if not path.is_dir():
        return Initial(
            class_path=class_path,
            init_args=init_args,
            source=str(path),
            read=lambda: read_file(path),
        )
    try:
        saved = read_metadata(path)
        if trust:
            import_named(saved)
    except ValueError as error:
        raise ConfigError(f"init {str(init)!r}: {error}") from error
    return Initial(
        class_path=saved["class_path"],
        init_args=saved["init_args"],
        inputs=saved["inputs"],
        source=str(path),
    )


def _other_network(content: Mapping[str, Any], init_args: dict[str, Any]) -> str | None:
    """What to set if a checkpoint names its network as timm and MoCo do, and it is not this one.

    >>> _other_network({"arch": "resnet50"}, {"name": "resnet18"})
    'the file says resnet50, the configuration resnet18: set --backbone.name resnet50'
    """
    arch, name = content.get("arch"), init_args.get("name")
    if not isinstance(arch, str) or name is None or arch == name or not timm.is_model(arch):
        return None
    whole = " --backbone.width 1" if init_args.get("width", 1) != 1 else ""
    whole += " --backbone.options null" if init_args.get("options") else ""
    return f"the file says {arch}, the configuration {name}: set --backbone.name {arch}{whole}"


def _load(folder: str) -> Backbone:
    """A saved backbone.

    Raises:
        ConfigError: If it is damaged or its class is not known.
    """
    try:
        return load(folder)
    except ValueError as error:
        raise ConfigError(f"init {folder!r}: {error}") from error


def _of_timm(name: str, *_: Any) -> Initial:  # noqa: ANN401
    network = name.partition(".")[0]
    if not timm.is_model_pretrained(name):
        close = timm.list_pretrained(f"{network}*")[:4]
        hint = f"; it has {', '.join(close)}" if close else ""
        raise ConfigError(f"init 'timm:{name}': timm has no such weights{hint}")
    known: Any = timm.get_pretrained_cfg(name)
    return Initial(
        class_path=TIMM,
        init_args={"name": network, "stem": "standard"},
        preset=_preset(known.input_size[-1], known.mean, known.std),
        source=f"timm:{name}",
        read=lambda: _fetched(f"timm:{name}", lambda: _pretrained(name)),
    )


def _of_hub(name: str, *_: Any) -> Initial:  # noqa: ANN401
    source = f"hf:{name}"
    config, network, options = _fetched(source, lambda: load_model_config_from_hf(name))
    init_args: dict[str, Any] = {"name": network, "stem": "standard"}
    if options:
        init_args["options"] = options
    return Initial(
        class_path=TIMM,
        init_args=init_args,
        preset=_preset(config["input_size"][-1], config["mean"], config["std"]),
        source=source,
        read=lambda: _fetched(source, lambda: _pretrained(f"hf-hub:{name}")),
    )


def _of_torchvision(name: str, class_path: str, init_args: dict[str, Any]) -> Initial:
    source = f"torchvision:{name}"
    try:
        known: Any = torchvision.models.get_model_weights(name)
    except ValueError as error:
        close = ", ".join(torchvision.models.list_models(include=f"{name[:6]}*")[:4])
        hint = f"; it has {close}" if close else ""
        raise ConfigError(f"init {source!r}: torchvision has no such weights{hint}") from error
    weights = known.DEFAULT
    same, options = TORCHVISION.get(name, (name, {}))
    if timm.is_model(same):
        class_path, init_args = TIMM, {"name": same, "stem": "standard"}
        init_args |= {"options": options} if options else {}
    preset: Any = weights.transforms()
    return Initial(
        class_path=class_path,
        init_args=init_args,
        preset=_preset(preset.crop_size[0], preset.mean, preset.std),
        source=source,
        read=lambda: _fetched(source, lambda: weights.get_state_dict(check_hash=True)),
    )


ROUTES = {"timm": _of_timm, "hf": _of_hub, "torchvision": _of_torchvision}


def _pretrained(name: str) -> Mapping[str, Any]:
    return timm.create_model(name, pretrained=True).state_dict()


def _preset(size: int, mean: Any, std: Any) -> ImageSpec:  # noqa: ANN401
    return ImageSpec(channels=3, size=size, mean=tuple(mean), std=tuple(std))


def _fetched(source: str, fetch: Callable[[], Any]) -> Any:  # noqa: ANN401
    """What is in the cache or on the hub.

    Raises:
        ConfigError: If it cannot be had.
    """
    try:
        return fetch()
    except Exception as error:  # hub clients raise many unrelated types
        reason = one_line(error, words=25)
        raise ConfigError(
            f"init {source!r} is not in the cache and cannot be downloaded ({reason}); "
            "give a file or folder with --init instead"
        ) from error
