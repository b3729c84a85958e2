from pathlib import Path

import pytest
import torch

from ssl_dml.backbones.native_norm import has_kernels

WORKER = Path(__file__).with_name("one_batch_norm.py")


def test_a_processor_has_no_kernels_and_cuda_has():
    assert not has_kernels("cpu")
    assert has_kernels("cuda") == torch.backends.cuda.is_built()


def test_kernels_sums_and_torchs_own_class_are_batch_norm_of_the_whole_batch(run_workers, tmp_path):
    run_workers(WORKER, 2, tmp_path / "store")


@pytest.mark.slow
def test_torch_compiles_kernels_and_sums_without_a_break(run_workers, tmp_path):
    run_workers(WORKER, 2, tmp_path / "store", "compiled")
