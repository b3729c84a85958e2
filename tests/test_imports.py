"""What a user of the losses and heads alone does not have to wait for."""

import subprocess
import sys

import pytest

PARTS = ("losses", "margins", "mining", "heads", "memory")
HEAVY = {
    "accelerate", "beartype", "datasets", "faiss", "kornia", "matplotlib", "pandas",
    "peft", "pyarrow", "scipy", "sklearn", "timm", "torchvision", "transformers",
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_losses_and_heads_import_torch_and_little_else(part):
    code = (
        f"import sys, torch; before = set(sys.modules); import ssl_dml.{part}; "
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "ssl_dml" in found
    assert not HEAVY & {*found}
