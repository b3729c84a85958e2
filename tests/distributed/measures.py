"""Worker of test_measures: one pretend process of several that share the work of measures.

Usage: measures.py STORE FOLDER, with RANK and WORLD_SIZE in the environment.
"""

import json
import sys
from pathlib import Path

import pretend
import torch
from measuring import measured

from ssl_dml.distributed import process_group, rank
from ssl_dml.evaluation.compute import Compute


def main(store, folder):
    """Measure on the device together; each process says what it has."""
    torch.set_num_threads(1)
    pretend.install()
    pretend.join(store)
    with pretend.counted() as found:
        values = measured(Compute(device=torch.device(pretend.NAME), group=process_group()))
    values["launches"] = found.launches
    (Path(folder) / f"{rank()}.json").write_text(json.dumps(values))


if __name__ == "__main__":
    main(*sys.argv[1:])
