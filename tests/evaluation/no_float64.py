"""Worker of test_compute: measures on a device without float64, as Apple's is."""

import json
import sys
from pathlib import Path

import pretend
import torch
from measuring import measured

from ssl_dml.evaluation import search
from ssl_dml.evaluation.compute import Compute


def main(path):
    """Measure on the device, where it chooses candidates for every query."""
    torch.set_num_threads(1)
    pretend.install(float64=False)
    search.FAST = 0
    compute = Compute(device=torch.device(pretend.NAME))
    assert compute.precise == torch.device("cpu")
    Path(path).write_text(json.dumps(measured(compute)))


if __name__ == "__main__":
    main(*sys.argv[1:])
