"""The toolkit from Python: load a model and embed, pretrain and fine-tune as functions."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import soundfile
import torch
from jaxtyping import Float, Shaped
from PIL import Image
from torch import nn

from ssl_dml.augment import Normalize, unsquash
from ssl_dml.backbones import Backbone, initial
from ssl_dml.backbones import load as load_backbone
from ssl_dml.backbones.digest import weights_digest
from ssl_dml.backbones.initial import ROUTES, TIMM
from ssl_dml.backbones.pooled import Pooled
from ssl_dml.backbones.prefix import Prefix
from ssl_dml.backbones.saved import read_metadata
from ssl_dml.checks import at_least
from ssl_dml.data.audio import read_resampled
from ssl_dml.data.decode import ImageDecoder
from ssl_dml.data.decoder import Decoded, aspects_of
from ssl_dml.data.images import MAX_PIXELS, read_file
from ssl_dml.data.recordings import SequenceDecoder
from ssl_dml.data.trim import sounding, trimmed
from ssl_dml.evaluation.averaged import Averaged, Views
from ssl_dml.reading import regular
from ssl_dml.threshold_file import THRESHOLD, Same, Threshold, read_threshold
from ssl_dml.types import ConfigError, ImageSpec, SequenceSpec

Sample = str | Path | Image.Image | np.ndarray


@final
class EmbeddingModel:
    """A trained backbone with the preprocessing of its training.

    Args:
        backbone: The network.
        decoder: Turns an image or a recording into what the network was trained on.
        device: Where it runs.
        pool: How features are pooled, if otherwise than in training.
        views: Views of a sample whose embeddings are averaged.
        dim: First values of an embedding to take, scaled to length 1; None for all as they are.
        folder: Where its ``threshold.json`` is, which ``ssl_dml threshold`` writes.

    Attributes:
        dim: Dimension of an embedding.
        inputs: Size or length, channels and normalization of the samples.
    """

    def __init__(
        self,
        backbone: Backbone,
        decoder: ImageDecoder | SequenceDecoder,
        device: torch.device,
        *,
        pool: str | None = None,
        views: Views = "one",
        dim: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.pool, self.views, self.folder = pool, views, folder
        self.backbone, self.decoder, self.device = backbone.to(device).eval(), decoder, device
        network = backbone if pool is None else Pooled(backbone, pool)
        network = network if dim is None else Prefix(network, dim)
        self.inputs, self.dim = backbone.inputs, network.feature_dim
        layers = Normalize(backbone.inputs), Averaged(network, views)
        self._encode = nn.Sequential(*layers).eval().to(device)

    @cached_property
    def digest(self) -> str:
        """Name of its weights: SHA-256 over all of them, wherever they were read from."""
        return weights_digest(self.backbone)

    @cached_property
    def threshold(self) -> Threshold:
        """From which cosine on two samples are the same, and what that promises.

        Raises:
            ConfigError: If ``ssl_dml threshold`` has written none, or one of another model.
        """
        found = None if self.folder is None else read_threshold(self.folder)
        if self.folder is None or found is None:
            raise ConfigError(
                f"{self.folder or 'the model'} has no {THRESHOLD}: ssl_dml threshold TABLE writes "
                "one; name its folder with load(..., threshold=FOLDER)"
            )
        found.check(self.folder, self.digest, self.pool, self.views, self.dim)
        return found

    def same(self, a: Sample, b: Sample) -> Same:
        """Whether two samples are the same, by the threshold that was calibrated.

        Args:
            a: As for :meth:`embed`.
            b: The other.

        Raises:
            ValueError: If a sample cannot be read, or there is no threshold of this model.
        """
        own, (one, two) = self.threshold, self.embed([a, b]).astype(np.float64)
        cosine = float(one @ two / max(np.linalg.norm(one) * np.linalg.norm(two), 1e-12))
        return own.judge(cosine)

    @torch.inference_mode()
    def embed(
        self, samples: Sample | Iterable[Sample], *, batch_size: int = 256
    ) -> Float[np.ndarray, "samples dim"]:
        """Embeddings of images or recordings, decoded and normalized as in training.

        Args:
            samples: Paths, PIL images or arrays (images ``[height, width]`` or
                ``[height, width, channels]``, recordings ``[time]`` or ``[channels, time]``); one
                or many.
            batch_size: Samples that are decoded and encoded at once.

        Returns:
            A float32 row for each sample, not normalized to length 1.

        Raises:
            ValueError: Naming the sample, if one cannot be read.
        """
        at_least(1, batch_size=batch_size)
        many = [samples] if isinstance(samples, Sample) else list(samples)
        found = np.empty((len(many), self.dim), np.float32)
        with ThreadPoolExecutor() as pool:
            for first in range(0, len(many), batch_size):
                part = range(first, min(first + batch_size, len(many)))
                decoded = list(pool.map(self._decode, [many[i] for i in part], part))
                stored = torch.from_numpy(np.stack([one.values for one in decoded]))
                aspects = aspects_of([one.aspect for one in decoded])
                seen = unsquash(stored.to(self.device), aspects, self.inputs)
                rows = self._encode(seen)
                found[part.start : part.stop] = rows.float().cpu().numpy()
        return found

    def _decode(self, sample: Sample, number: int) -> Decoded:
        try:
            if isinstance(self.decoder, SequenceDecoder):
                return self.decoder.decode(_recording(sample, self.decoder))
            if isinstance(sample, str | Path):
                return self.decoder.decode(read_file(Path(sample), MAX_PIXELS))
            return self.decoder.decode(sample)
        except MemoryError:
            raise
        except Exception as error:  # decoders raise anything on damaged bytes
            name = sample if isinstance(sample, str | Path) else f"sample {number}"
            raise ValueError(f"{name} cannot be embedded: {error}") from error


def _recording(sample: Sample, decoder: SequenceDecoder) -> Shaped[np.ndarray, "channels time"]:
    """The first values of a recording, as many as the network was trained on."""
    rate, trim, mono = decoder.sampling_rate, decoder.trim, decoder.channels == 1
    if isinstance(sample, np.ndarray):
        values = np.atleast_2d(sample)
        values = values if rate is None or trim is None else trimmed(values, rate, trim)
        return values[:, : decoder.length]
    if rate is None or not isinstance(sample, str | Path):
        raise ValueError("the model is for arrays of [channels, time]")
    with soundfile.SoundFile(regular(Path(sample))) as file:
        start, stop = 0, decoder.length
        if trim is not None:
            start, stop = sounding(file, rate, trim=trim, mono=mono)
        values = read_resampled(file, rate, start, min(stop, start + decoder.length))
    return values.mean(axis=0, keepdims=True) if mono else values


def load(
    folder: str | Path,
    *,
    device: torch.device | str | None = None,
    pool: str | None = None,
    views: Views = "one",
    dim: int | None = None,
    threshold: str | Path | None = None,
) -> EmbeddingModel:
    """The model of a run, ready to embed.

    Nothing in the folder is executed.

    Args:
        folder: A run folder, of which the model after the last step is taken, or a ``backbone`` or
            ``best`` folder in one; or published weights, ``timm:NAME``, ``hf:USER/NAME`` or
            ``torchvision:NAME``.
        device: Where it runs; None for an accelerator if there is one, else the CPU.
        pool: How features are pooled; see :class:`~ssl_dml.backbones.pooled.Pooled`.
        views: Views that are averaged; see :class:`~ssl_dml.evaluation.averaged.Averaged`.
        dim: First values of an embedding to take; see :class:`~ssl_dml.backbones.prefix.Prefix`.
        threshold: Folder whose ``threshold.json`` :meth:`EmbeddingModel.same` uses, such as a
            table; None for the one beside the model.

    Raises:
        ValueError: Naming the file, if one is missing or damaged.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = torch.device(device or accelerator or "cpu")
    calibrated = None if threshold is None else Path(threshold).expanduser()
    if str(folder).partition(":")[0] in ROUTES:
        begin = initial(folder, TIMM, {})
        assert begin.preset is not None
        backbone = begin.backbone(begin.preset)
        decoder = _decoder(backbone.inputs, {})
        return EmbeddingModel(
            backbone, decoder, device, pool=pool, views=views, dim=dim, folder=calibrated
        )
    folder = Path(folder).expanduser()
    if (folder / "config.yaml").exists():
        if not (folder / "backbone").exists():
            raise ConfigError(f"{folder} has no backbone yet: finish the run with --resume true")
        folder = folder / "backbone"
    backbone = load_backbone(folder)
    saved = read_metadata(folder)["trained"].get("data", {}).get("decoder", {})
    decoder = _decoder(backbone.inputs, saved)
    own = calibrated or folder
    return EmbeddingModel(backbone, decoder, device, pool=pool, views=views, dim=dim, folder=own)


def _decoder(
    spec: ImageSpec | SequenceSpec, saved: dict[str, Any]
) -> ImageDecoder | SequenceDecoder:
    """The decoder of training; what was not saved is that of 8-bit images, or of floats."""
    if isinstance(spec, ImageSpec):
        return ImageDecoder(**{**saved, "channels": spec.channels, "size": spec.size})
    own = {"channels": spec.channels, "length": spec.length, "sampling_rate": spec.sampling_rate}
    return SequenceDecoder(
        **{**own, "kept_as": "int16" if spec.sampling_rate else "float32", **saved}
    )


def pretrain(
    source: str | Path | None = None,
    *,
    config: str | Path = "default",
    init: str | Path | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    **options: Any,  # noqa: ANN401 - any key of the configuration
) -> EmbeddingModel:
    """Pretrain without labels, as ``ssl_dml pretrain`` does on one process.

    Args:
        source: Images or recordings, ``data.source``; None for that of the configuration.
        config: A shipped name such as ``moco_v2``, or a YAML file.
        init: Where the backbone starts: a run folder or saved backbone, a file of weights,
            ``timm:NAME``, ``hf:USER/NAME`` or ``torchvision:NAME``; None for random weights.
        epochs: Epochs to train.
        steps: Optimizer steps to train, instead of epochs.
        **options: Other keys of the configuration, such as ``output_dir="runs/mine"``, ``seed=1``,
            ``resume=True`` or ``data={"image_size": 64}``.

    Returns:
        The model after the last step; the run folder holds everything else.

    Raises:
        ValueError: Naming key and value, if the configuration or the data cannot be used.
    """
    from ssl_dml.commands.pretrain import main

    given = {"data.source": source, "train.epochs": epochs, "train.steps": steps, "init": init}
    return load(main(_arguments(config, given, options)))


def finetune(
    source: str | Path | None = None,
    *,
    config: str | Path = "arcface",
    init: str | Path | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    **options: Any,  # noqa: ANN401 - any key of the configuration
) -> EmbeddingModel:
    """Fine-tune with labels, as ``ssl_dml finetune`` does on one process.

    Args:
        source: Labeled images or recordings; None for those of the configuration.
        config: A shipped name such as ``triplet``, or a YAML file.
        init: Where the backbone starts, as in :func:`pretrain`.
        epochs: Epochs to train.
        steps: Optimizer steps to train, instead of epochs.
        **options: Other keys of the configuration.

    Returns:
        The embedding model after the last step.

    Raises:
        ValueError: Naming key and value, if the configuration or the data cannot be used.
    """
    from ssl_dml.commands.finetune import main

    given = {"data.source": source, "train.epochs": epochs, "train.steps": steps, "init": init}
    return load(main(_arguments(config, given, options)))


def _arguments(config: str | Path, given: dict[str, Any], options: dict[str, Any]) -> list[str]:
    """The command line of a call; None is not given, but among the options null."""
    keys = {key: value for key, value in given.items() if value is not None} | options
    args = [] if options.get("resume") else [f"--config={config}"]
    for key, value in keys.items():
        args.append(f"--{key}={value if isinstance(value, str | Path) else json.dumps(value)}")
    return args
