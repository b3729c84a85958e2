"""Embeddings of many identities by fixed features: Hangul syllables, emoji and voices."""

import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from benchmarks.audit import emoji_images
from benchmarks.speech import ACCENTS, PROGRAM, VARIANTS
from ssl_dml.backbones.log_mel import log_mel_statistics
from ssl_dml.progress import progress
from ssl_dml.tables import EmbeddingTable

Things = Literal["hangul", "emoji", "voices"]
DIM = 32  # of the embeddings, by principal components
SIDE, TURNS = 24, (0, -12, 12, 0)  # of a drawn emoji, and what turns its four samples
VOICES, SECONDS = 1200, 2
SENTENCES = ("the ship is late tonight", "a pet cat sat by the gate", "they sang a thin light song")


def embedded(things: Things) -> EmbeddingTable:
    """Rows of length 1, centered and turned to their principal components."""
    rows, labels = {"hangul": _hangul, "emoji": _emoji, "voices": _voices}[things]()
    rows = F.normalize(rows.double(), dim=1)
    rows -= rows.mean(dim=0)
    axes = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -DIM:]
    return EmbeddingTable(embeddings=F.normalize(rows @ axes, dim=1).float(), labels=labels)


def _hangul() -> tuple[Float[Tensor, "rows dim"], Tensor]:
    """All 600 syllables of the embedded sample in 24 fonts, by their pixels."""
    from ssl_dml.data import DataConfig, load_test, load_train

    rows, labels, known = list[Tensor](), list[int](), dict[str, int]()
    train = load_train(DataConfig(source="hangul"))
    test = load_test(DataConfig(source="hangul"), train)
    assert test is not None
    for samples in (train, test):
        assert samples.labels is not None and samples.class_names is not None
        names = samples.class_names
        for part in torch.arange(len(samples)).split(1024):
            rows.append(255 - samples[part][0].flatten(1).float())
        own = [names[i] for i in samples.labels.tolist()]
        labels += [known.setdefault(name, len(known)) for name in own]
    return torch.cat(rows), torch.tensor(labels)


def _emoji() -> tuple[Float[Tensor, "rows dim"], Tensor]:
    """What the font of emoji draws, each in four sizes and turns, by its pixels in color."""
    found = emoji_images()
    rows = [row for image in found for row in _drawn(image)]
    return torch.from_numpy(np.stack(rows)), torch.arange(len(found)).repeat_interleave(len(TURNS))


def _drawn(image: Image.Image) -> Iterator[np.ndarray]:
    for i, turn in enumerate(TURNS):
        turned, inset = image.rotate(turn, fillcolor="white"), -6 * i
        whole = turned.crop((inset, inset, 136 - inset, 136 - inset))
        ground = Image.new("RGB", whole.size, "white")
        ground.paste(turned, (-inset, -inset))
        yield 255 - np.asarray(ground.resize((SIDE, SIDE)), np.float32).ravel()


def _voices() -> tuple[Float[Tensor, "rows dim"], Tensor]:
    """Voices of espeak-ng that say three sentences each, by statistics of their log-mel frames."""
    voices = [(a, v, p) for a in ACCENTS for v in VARIANTS for p in range(20, 81, 6)]
    random.Random(0).shuffle(voices)
    rows = list[Tensor]()
    with tempfile.TemporaryDirectory() as folder, progress(VOICES, "speaking", "voices") as bar:
        path = Path(folder) / "a.wav"
        for accent, variant, pitch in voices[:VOICES]:
            bar.update()
            for sentence in SENTENCES:
                options = ["-z", "-v", f"{accent}+{variant}", "-p", str(pitch), "-w", str(path)]
                subprocess.run([PROGRAM, *options, sentence], check=True, capture_output=True)
                wave, rate = soundfile.read(path, dtype="float32")
                wave = torch.from_numpy(wave[: SECONDS * rate])
                rows.append(log_mel_statistics(wave[None, None], rate)[0])
    return torch.stack(rows), torch.arange(VOICES).repeat_interleave(len(SENTENCES))
