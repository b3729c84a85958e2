"""Measures on two processes of a device that takes no tensor of the host, and on one of the CPU."""

import json
from pathlib import Path

import pytest
import torch
from measuring import measured

from ssl_dml.evaluation.compute import ONE_PROCESS

pytestmark = pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot have a device in Python",
)
ROUNDED = {"logistic", "health"}  # sums of several processes, and of unit rows


@pytest.fixture(scope="module")
def both(run_workers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("measures")
    run_workers(Path(__file__).parent / "measures.py", 2, folder / "store", folder)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def alone():
    return measured(ONE_PROCESS)


def test_every_process_has_the_same(both):
    for values in both:
        assert values.pop("launches") > 100  # it was computed on the device
    assert both[0] == both[1]


@pytest.mark.parametrize("name", [
    "knn", "itself", "retrieval", "few", "labels", "layers", "linear", "single", "logistic",
    "few_labels", "health",
])  # fmt: skip
def test_two_processes_measure_what_one_does(both, alone, name):
    if name in ROUNDED:
        assert both[0][name] == pytest.approx(alone[name], rel=1e-6)
    else:
        assert both[0][name] == alone[name]
