"""The package as a stranger has it: a wheel in an empty environment, used in an empty folder."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheel
ROOT = Path(__file__).parents[1]
OWN = '''
import torch
from ssl_dml.methods import Method
from ssl_dml.types import StepOutput


class Spread(Method):
    """Pushes features of a batch apart."""

    def __init__(self, backbone, run_info, *, strength: float = 1.0):
        super().__init__()
        self.backbone, self.strength = backbone, strength

    def forward(self, batch):
        rows = torch.nn.functional.normalize(self.backbone(batch.views[0]), dim=1)
        return StepOutput(self.strength * (rows @ rows.T).mean(), {})
'''
EMBED = """
import numpy, ssl_dml
model = ssl_dml.load("runs/first")
rows = model.embed([numpy.zeros((28, 28), numpy.uint8)] * 3)
print(rows.shape, rows.dtype)
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Wheel and sdist of the clone."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def environment(dist, tmp_path_factory):
    """An environment that holds the wheel and what it depends on."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    (wheel,) = dist.glob("*.whl")
    install = [folder / "bin/python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "--upgrade", "pip", "setuptools"], check=True)
    subprocess.run([*install, wheel], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An empty folder."""
    return tmp_path_factory.mktemp("empty")


@pytest.fixture
def run(environment, place):
    """What a command of the environment prints, in the empty folder."""

    def run(program, *arguments):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
        clean |= {"HOME": str(place), "PATH": f"{environment}{os.pathsep}{os.environ['PATH']}"}
        command = [environment / program, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=place, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def tracked(*folders):
    listed = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.split()


def test_wheel_and_sdist_hold_every_module_configuration_and_sample(dist):
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in tracked("ssl_dml"):
        assert name in names
    for name in tracked("configs"):
        assert f"ssl_dml/{name}" in names
    assert not any(name.startswith(("tests", "scripts", "docs")) for name in names)
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert inside >= {*tracked("ssl_dml", "configs"), "pyproject.toml", "README.md", "LICENSE"}


def test_the_journey_from_an_empty_folder(run, place):
    assert "ssl_dml pretrain" in run("ssl_dml")
    steps = ("--train.steps", "20", "--evaluation.every_epochs", "100")
    printed = run("ssl_dml", "pretrain", *steps, "--output_dir", "runs/first")
    assert "weighted kNN top-1" in printed
    assert "trained" in run(
        "ssl_dml", "pretrain", "--config", "moco_v2", *steps, "--output_dir", "runs/moco"
    )
    printed = run("ssl_dml", "evaluate", "--config", "linear", "--run", "runs/first")
    assert "linear_top1" in printed
    tuned = ("--train.steps", "20", "--output_dir", "runs/tuned")
    printed = run("ssl_dml", "finetune", "--init", "runs/first/backbone", *tuned)
    assert "held-out samples" in printed
    assert "recall_at_1" in run(
        "ssl_dml", "evaluate", "--config", "retrieval", "--run", "runs/tuned"
    )
    assert run("python", "-c", EMBED) == "(3, 128) float32\n"
    assert {path.name for path in place.iterdir()} <= {"runs", ".cache", ".triton"}


def test_a_method_of_ones_own_package(run, place, tmp_path):
    (tmp_path / "my_methods.py").write_text(OWN)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "my_methods"\nversion = "1"\n'
        '[tool.setuptools]\npy-modules = ["my_methods"]\n'
    )
    run("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", tmp_path)
    text = (ROOT / "configs/pretrain/default.yaml").read_text()
    (place / "own.yaml").write_text(text.replace("ssl_dml.methods.SimCLR", "my_methods.Spread"))
    source = (place / "own.yaml").read_text().replace("{temperature: 0.1}", "{strength: 0.5}")
    (place / "own.yaml").write_text(source)
    run(
        "ssl_dml", "pretrain", "--config", "own.yaml", "--train.steps", "3",
        "--output_dir", "runs/own", "--evaluation.every_epochs", "100",
    )  # fmt: skip
    assert (place / "runs/own/backbone/model.safetensors").exists()
