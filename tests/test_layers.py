"""The architecture as a test."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ssl_dml"
LAYERS = [  # lowest first
    {"types", "trust", "stops", "cores"},
    {"components"},
    {"distributed", "checks", "config_errors", "progress", "precision", "counter_rng", "offline"},
    {"files", "reading", "quantized"},
    {"yaml_text", "padding", "misfits", "tables", "threshold_file"},
    {"given"},
    {"config", "console"},
    {"distances", "pair_masks"},
    {"losses", "margins", "mining", "memory", "data", "augment"},
    {"backbones"},
    {"methods", "heads"},
    {"index"},
    {"evaluation"},
    {"reporting"},
    {"exporting"},
    {"training", "serve"},
    {"benchmarking"},
    {"commands"},
    {"api"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Which parts may import a library that others must not know.
CONFINED = {
    "kornia": {"augment"},
    "faiss": {"evaluation", "index"},
    "sklearn": {"evaluation"},
    "datasets": {"data"},
    "accelerate": {"training", "reporting", "benchmarking", "commands", "__main__"},
    "torch.distributed": {"distributed", "benchmarking", "__main__"},
    "timm": {"backbones"},
    "peft": {"backbones"},
    "starlette": {"serve"},
    "uvicorn": {"serve"},
}
# What losses, margins and miners may know of the toolkit.
ROWS = {"types", "checks", "precision", "distances", "pair_masks", "counter_rng"}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    own = part_of(path)
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "ssl_dml" and len(parts) > 1 and parts[1] in RANK:
            assert parts[1] == own or RANK[parts[1]] < RANK[own], f"{path} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_part(path):
    for module in imports(path):
        for library, allowed in CONFINED.items():
            if module == library or module.startswith(f"{library}."):
                assert part_of(path) in allowed, f"{path} imports {module}"


@pytest.mark.parametrize("part", ["losses", "margins", "mining"])
def test_losses_know_of_no_data_and_no_process(part):
    for path in (PACKAGE / part).glob("*.py"):
        for module in imports(path):
            if module.startswith("ssl_dml."):
                assert module.split(".")[1] in {part, *ROWS}, f"{path} imports {module}"
