"""Words that espeak-ng speaks in many voices: labeled sound, made on the spot."""

import itertools
import os
import random
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ssl_dml.progress import progress

PROGRAM = "espeak-ng"
# Pairs and triples that differ in one sound, so that loudness and length do not tell them apart.
WORDS = (
    *("bat", "pat", "cat", "bet", "pet", "bit", "pit", "beat", "boat", "coat"),
    *("ship", "chip", "sheep", "cheap", "sip", "zip", "thin", "fin", "tin", "din"),
    *("light", "right", "night", "rate", "late", "gate", "date", "day", "gay", "bay"),
)
ACCENTS = (
    *("en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd"),
    *("en-029", "en-us-nyc"),
)
VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5"),
    *("Andy", "Annie", "Denis", "Gene", "Jacky", "Lee", "Mario", "Michael", "edward", "linda"),
)
WORDS_A_MINUTE = (120, 220)
PITCH = (20, 80)
QUIET = 1e-3


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A voice that says every word.

    Args:
        accent: Language of espeak-ng.
        variant: Its voice variant.
        speed: Words a minute.
        pitch: From 0 to 99.
    """

    accent: str
    variant: str
    speed: int
    pitch: int

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.accent}_{self.variant}_{self.speed}_{self.pitch}"


def draw_speakers(train: int, test: int, *, seed: int = 0) -> tuple[list[Speaker], list[Speaker]]:
    """Speakers for training and others for testing, no two with the same accent and variant.

    Args:
        train: Number of the ones.
        test: Number of the others.
        seed: Number that who they are depends on.

    Raises:
        ValueError: If espeak-ng has not so many.
    """
    voices = list(itertools.product(ACCENTS, VARIANTS))
    if min(train, test) < 1 or train + test > len(voices):
        raise ValueError(
            f"train and test speakers must be at least 1 each and {len(voices)} together, "
            f"got {train} and {test}"
        )
    rng = random.Random(seed)
    rng.shuffle(voices)
    speakers = [
        Speaker(
            accent=accent,
            variant=variant,
            speed=rng.randint(*WORDS_A_MINUTE),
            pitch=rng.randint(*PITCH),
        )
        for accent, variant in voices[: train + test]
    ]
    return speakers[:train], speakers[train:]


def speak(
    folder: Path, *, train: int = 80, test: int = 24, seed: int = 0, silence: float = 0.0
) -> int:
    """Write ``train/WORD/SPEAKER.wav`` and ``test/WORD/SPEAKER.wav`` below a folder.

    The same numbers give the same words by the same speakers, whose breath alone differs from
    time to time; what is there already is left.

    Args:
        folder: Where to write.
        train: Speakers to train on.
        test: Other speakers, to test on.
        seed: Number that who speaks depends on.
        silence: The longest silence before a word, and after it, in seconds; its length is
            random, and it has noise 60 dB below full scale.

    Returns:
        Number of files.

    Raises:
        ValueError: If there is no espeak-ng, or it has not so many voices.
        OSError: If it fails.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise ValueError(f"{PROGRAM} is not installed; try: apt-get install {PROGRAM}")
    speakers = dict(zip(("train", "test"), draw_speakers(train, test, seed=seed), strict=True))
    jobs = [
        (folder / split / word / f"{speaker.name}.wav", word, speaker)
        for split, those in speakers.items()
        for word in WORDS
        for speaker in those
    ]

    def one(job: tuple[Path, str, Speaker]) -> None:
        path, word, speaker = job
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        voice = f"{speaker.accent}+{speaker.variant}"
        # Without -z a pause of 0.3 s ends every file.
        options = ["-z", "-v", voice, "-s", str(speaker.speed), "-p", str(speaker.pitch)]
        done = subprocess.run(
            [program, *options, "-w", str(beside), word], capture_output=True, check=False
        )
        if done.returncode or not beside.exists():
            reason = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
            raise OSError(f"{PROGRAM} cannot speak {path}: {reason}")
        if silence:
            _surround(beside, silence, name=f"{word}/{speaker.name}")
        beside.rename(path)

    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress(len(jobs), "speaking", "words") as bar,
    ):
        for _ in pool.map(one, jobs):
            bar.update()
    return len(jobs)


def _surround(path: Path, longest: float, *, name: str) -> None:
    """Put silence of random length before and after a word; its name is the seed."""
    values, rate = soundfile.read(path, dtype="float32")
    rng = np.random.default_rng(list(name.encode()))
    before, after = (int(rng.uniform(0, longest) * rate) for _ in range(2))
    whole = np.pad(values, (before, after))
    whole += QUIET * rng.standard_normal(len(whole), dtype=np.float32)
    soundfile.write(path, whole, rate, format="WAV", subtype="PCM_16")
