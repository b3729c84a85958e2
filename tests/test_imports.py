"""What a user of the losses and heads alone, or of an index, does not have to wait for."""

import json
import subprocess
import sys

import pytest

PARTS = ("losses", "margins", "mining", "heads", "memory", "index")
HEAVY = {
    "accelerate", "beartype", "datasets", "faiss", "kornia", "matplotlib", "pandas",
    "peft", "pyarrow", "scipy", "sklearn", "timm", "torchvision", "transformers",
}  # fmt: skip
ALLOWED = {"index": {"faiss", "pyarrow"}}


@pytest.fixture(scope="module")
def imported():
    """What each part makes a process import beside torch, one part after the other."""
    code = (
        "import importlib, json, sys, torch; found, before = {}, set(sys.modules)\n"
        f"for part in {PARTS}:\n"
        "    importlib.import_module(f'ssl_dml.{part}')\n"
        "    found[part] = [name.split('.')[0] for name in set(sys.modules) - before]\n"
        "print(json.dumps(found))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


@pytest.mark.parametrize("part", PARTS)
def test_losses_heads_and_indices_import_little_beside_torch(imported, part):
    assert "ssl_dml" in imported[part]
    assert not (HEAVY - ALLOWED.get(part, set())) & {*imported[part]}
