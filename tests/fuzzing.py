"""Small files of every kind that is read, and what becomes of them when bytes are changed."""

import io
import json
import random
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile
import torch
from indexes import stored
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from ssl_dml.backbones import Backbone, load
from ssl_dml.backbones.files import read_file
from ssl_dml.backbones.saved import save
from ssl_dml.backbones.weights import fit_weights
from ssl_dml.console import enough_memory
from ssl_dml.data import DataConfig, load_train
from ssl_dml.data.sequences import SequenceConfig
from ssl_dml.index.index import Index, build_index
from ssl_dml.reading import raised_here
from ssl_dml.reporting import read_records
from ssl_dml.tables import EmbeddingTable
from ssl_dml.threshold_file import Threshold, Unknown, read_threshold, write_threshold
from ssl_dml.training.files import read
from ssl_dml.types import ConfigError, ImageSpec
from ssl_dml.yaml_text import read_yaml

INTERESTING = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]
PIXELS = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)


class Small(Backbone):
    """A network of two layers, whose weights are quick to read."""

    def __init__(self, inputs):
        super().__init__()
        self.inputs, self.feature_dim = inputs, 4
        self.first, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, samples):
        return self.norm(self.first(samples)).mean((2, 3))


def mutant(data, rng):
    """The bytes with a few changes: bits, a cut, a splice, a number, a repeat."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        at = rng.randrange(len(changed) + 1)
        kind = rng.choice(["bit", "bit", "byte", "number", "number", "cut", "splice", "drop"])
        if kind == "cut" or not changed:
            changed = changed[:at] or bytearray(b"\0")
        elif kind == "bit":
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == "byte":
            changed[at % len(changed)] = rng.randrange(256)
        elif kind == "number":
            form = rng.choice(["<H", ">H", "<I", ">I", "<Q", ">Q"])
            value = rng.choice(INTERESTING) & (256 ** struct.calcsize(form) - 1)
            changed[at : at + struct.calcsize(form)] = struct.pack(form, value)
        elif kind == "splice":
            start = rng.randrange(len(data))
            changed[at:at] = data[start : start + rng.randrange(1, 64)]
        else:
            del changed[at : at + rng.randrange(1, 64)]
    return bytes(changed)


def picture(form, **options):
    """The bytes of an image."""
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, form, **options)
    return file.getvalue()


def _images(folder):
    for form in ("png", "jpeg", "gif", "bmp", "ppm", "tiff", "webp", "tga", "jpeg2000"):
        suffix = {"jpeg2000": "jp2", "jpeg": "jpg"}.get(form, form)
        (folder / f"a.{suffix}").write_bytes(picture(form))
    (folder / "lzw.tif").write_bytes(picture("tiff", compression="tiff_lzw"))
    Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 99).save(folder / "deep.png")
    np.save(folder / "a.npy", PIXELS)


def _audio(folder):
    wave = np.sin(np.arange(800) / 9).astype(np.float32) / 2
    for form, subtype in (("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", "PCM_16")):
        soundfile.write(folder / f"{subtype.lower()}.{form}", wave, 8000, subtype=subtype)


def _tables(folder):
    rows = {"image": [picture("png")] * 3, "label": ["a", "b", "a"]}
    table = pyarrow.table(rows)
    pyarrow.parquet.write_table(table, folder / "a.parquet")
    pyarrow.parquet.write_table(table, folder / "plain.parquet", use_dictionary=False)
    (folder / "a.png").write_bytes(picture("png"))
    (folder / "a.csv").write_text("image,label\na.png,1\na.png,2\n")


def _sequences(folder):
    np.savez(folder / "a.npz", x=np.ones((3, 20), np.float32), y=np.array([0, 1, 0]))
    np.savez_compressed(folder / "packed.npz", x=np.ones((3, 2, 20), np.int16))
    rows = {"sequence": [[0.5] * 20] * 3, "label": [0, 1, 0]}
    pyarrow.parquet.write_table(pyarrow.table(rows), folder / "a.parquet")


def _archives(folder):
    label = json.dumps({"label": 3}).encode()
    members = {"a.png": picture("png"), "a.json": label, "b.jpg": picture("jpeg"), "b.cls": b"4"}
    for name, packing in (("a", zipfile.ZIP_DEFLATED), ("stored", zipfile.ZIP_STORED)):
        with zipfile.ZipFile(folder / f"{name}.zip", "w", packing) as archive:
            for member, data in members.items():
                archive.writestr(member, data)
    with tarfile.open(folder / "a.tar", "w") as archive:
        for member, data in members.items():
            about = tarfile.TarInfo(member)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))


def _weights(folder):
    state = Small(ImageSpec.imagenet(8)).state_dict()
    torch.save({"state_dict": state, "arch": "small", "epoch": 3}, folder / "a.pt")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "a.safetensors")
    np.savez(folder / "a.npz", **{name: value.numpy() for name, value in state.items()})


def _texts(folder):
    (folder / "a.yaml").write_text(
        "base: &base {steps: 10, keep: [1, 2]}\ntrain:\n  <<: *base\n  lr: 1e-3\nname: 'x y'\n"
    )
    row = json.dumps({"step": 1, "epoch": 0.5, "wall_s": 2.0, "eval/rankme": 3.5})
    (folder / "metrics.jsonl").write_text(f"{row}\n{row}\n{row}\n")


def _backbone(folder):
    network = Small(ImageSpec.imagenet(8))
    save(network, folder / "backbone", f"{Small.__module__}.Small", {}, trained={"steps": 3})


def _saved(folder):
    table = datasets.Dataset.from_dict({"image": [picture("png")] * 3, "label": [0, 1, 0]})
    table.save_to_disk(str(folder / "saved"))


def _stored(folder):
    for dtype in ("float32", "int8", "bit"):
        stored(folder / dtype, rows=30, dim=8, dtype=dtype)


def _index(folder):
    table = stored(folder.with_name("table"), rows=1200, dim=8)
    for kind in ("exact", "ivf", "bits"):
        build_index(table.folder, folder / kind, kind=kind)


def _read_index(path):
    index = Index.open(path.parent)
    ids = index.search(torch.ones(2, 8), 3)[1]
    rows = index.rows(ids.flatten().tolist())
    [index.thumbnail(row.id) for row in rows]


def _threshold(folder):
    names = ("far", "far_low", "far_high", "binomial_low", "binomial_high")
    measures = dict.fromkeys((*names, "tar", "tar_low", "tar_high", "ece"), 0.25)
    found = Threshold(
        digest="ab" * 32, pool="gem", views="one", dim=8, threshold=0.75, far=0.01,
        confidence=0.95, identities=40, rows=80, measures=measures, cosines=[-1.0, 0.5, 1.0],
        same=[0.0, 0.5, 0.9],
        unknown=Unknown(threshold=0.6, fpir=0.05, identities=60, gallery_rows=50),
    )  # fmt: skip
    write_threshold(folder, found)


def _read_threshold(path):
    found = read_threshold(path.parent)
    assert 0 <= found.judge(0.3).probability <= 1
    assert all("\n" not in line for line in found.lines())
    found.check(path.parent, "ab" * 32, "gem", None, 8)


def _data(path, **options):
    cache = path.parent.parent / "cache"
    config = DataConfig(source=str(path), on_error="skip", cache_dir=cache, **options)
    found = load_train(config)
    found[torch.arange(len(found))]


def _read_images(path):
    _data(path.parent if path.suffix not in (".parquet", ".csv", ".zip", ".tar") else path)


def _read_sequences(path):
    source = path.parent if path.suffix in (".wav", ".flac") else path
    _data(source, sequences=SequenceConfig(sampling_rate=4000, length=400))


def _read_weights(path):
    fit_weights(read_file(path), Small(ImageSpec.imagenet(8)))


def _read_text(path):
    if path.suffix == ".yaml":
        read_yaml(path)
    else:
        shutil.copy(path, path.with_name("metrics.jsonl"))
        read_records(path.parent)


# Files of a kind, and what reads one of them.
KINDS = {
    "images": (_images, _read_images),
    "audio": (_audio, _read_sequences),
    "tables": (_tables, _read_images),
    "sequences": (_sequences, _read_sequences),
    "archives": (_archives, _read_images),
    "weights": (_weights, _read_weights),
    "checkpoints": (_weights, read),
    "texts": (_texts, _read_text),
    "backbone": (_backbone, lambda path: load(path.parent)),
    "saved": (_saved, lambda path: _data(path.parent)),
    "stored": (_stored, lambda path: EmbeddingTable.open(path.parent)),
    "index": (_index, _read_index),
    "threshold": (_threshold, _read_threshold),
}


FOLDERS = ("backbone", "saved", "stored", "index")  # of which one file is changed


def corpus(kind, folder):
    """The files of a kind, in a folder of their own."""
    folder.mkdir()
    KINDS[kind][0](folder)
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def attempt(kind, file, folder, rng):
    """Read a mutant of a file; anything but success and a mistake told in one line raises."""
    shutil.rmtree(folder, ignore_errors=True)
    if kind in FOLDERS:
        shutil.copytree(file.parent, folder / file.parent.name)
        path = folder / file.parent.name / file.name
    else:
        folder.mkdir(parents=True)
        path = folder / file.name
        beside = file.parent / "a.png"
        if kind == "tables":
            shutil.copy(beside, folder / "b.png")
    path.write_bytes(mutant(file.read_bytes(), rng))
    try:
        with enough_memory():
            KINDS[kind][1](path)
    except ConfigError as error:
        told = error
    except (ValueError, OSError) as error:
        if not (isinstance(error, OSError) or raised_here(error)):
            raise
        told = error
    else:
        return "read"
    assert "\n" not in str(told).strip(), str(told)
    assert Path(__file__).name not in str(told)
    return "refused"


def generator(kind, number):
    """The random numbers of one mutant, so that it can be made again."""
    return random.Random(f"{kind} {number}")
