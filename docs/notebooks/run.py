"""Run every notebook in this folder, as a test or to store what it shows.

``python docs/notebooks/run.py`` runs them and leaves the files as they are; ``--write`` stores the
outputs. A cell that raises ends it with its error.
"""

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
SECONDS = 3600  # a cell, on a machine that is busy


def run(path: Path, *, write: bool) -> None:
    """Execute one notebook in an empty folder."""
    notebook = nbformat.read(path, as_version=4)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=SECONDS, resources=resources).execute()
    print(f"{path.name}: {time.perf_counter() - began:.0f} s")
    if not write:
        return
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":  # progress bars go to standard error
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            for output in cell.outputs:
                output.get("data", {}).pop("image/jpeg", None)  # the same as the PNG
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        run(path, write="--write" in sys.argv)
