"""What a user of losses, heads, an index or measures of a table does not have to wait for."""

import json
import subprocess
import sys

import pytest

PARTS = ("losses", "margins", "mining", "heads", "memory", "index", "evaluation")
HEAVY = {
    "accelerate", "beartype", "datasets", "faiss", "kornia", "matplotlib", "pandas",
    "peft", "pyarrow", "scipy", "sklearn", "timm", "torchvision", "transformers",
}  # fmt: skip
ALLOWED = {"index": {"faiss", "pyarrow"}, "evaluation": {"faiss", "pyarrow", "scipy"}}


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
def test_losses_heads_indices_and_measures_import_little_beside_torch(imported, part):
    assert "ssl_dml" in imported[part]
    assert not (HEAVY - ALLOWED.get(part, set())) & {*imported[part]}


@pytest.mark.slow
def test_measures_that_need_images_are_functions_however_they_are_imported():
    code = (
        "import importlib, ssl_dml.evaluation as measures\n"
        "for name in ('bank_probe', 'embed', 'probe', 'validate'):\n"
        "    first, module = getattr(measures, name), f'ssl_dml.evaluation.{name}'\n"
        "    assert first is getattr(importlib.import_module(module), name), name\n"
        "    assert getattr(measures, name) is first, name\n"
        "assert all(getattr(measures, name) is not None for name in measures.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    code = (
        "import ssl_dml.evaluation.validate, ssl_dml.evaluation as measures\n"
        "assert all(callable(getattr(measures, name)) for name in measures.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
