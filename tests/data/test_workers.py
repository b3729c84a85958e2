import pytest

from ssl_dml.config import ConfigError
from ssl_dml.data import workers as module
from ssl_dml.data.workers import choose_workers, shared_bytes


@pytest.fixture
def machine(monkeypatch):
    """A machine of so many cores and bytes of shared memory."""

    def make(cores, free):
        monkeypatch.setattr(module, "own_cores", lambda: cores)
        monkeypatch.setattr(module, "shared_memory", lambda: free)

    return make


@pytest.mark.parametrize(
    ("wanted", "free", "workers"),
    [(None, 10**9, 8), (3, 10**9, 3), (40, 10**9, 40), (None, 50_000, 8), (None, None, 8)],
)
def test_every_core_has_a_worker_unless_told_otherwise(machine, wanted, free, workers):
    machine(8, free)
    assert choose_workers(wanted, 1000)[0] == workers


def test_batches_of_as_many_workers_as_are_chosen_fit(machine):
    for free in range(4_500, 30_000, 500):
        machine(8, free)
        workers, why = choose_workers(None, 1000)
        assert shared_bytes(workers, 1000) <= free
        assert why == ("8 cores" if workers == 8 else "8 cores, as /dev/shm is small")


@pytest.mark.parametrize("wanted", [None, 5])
def test_shared_memory_that_is_too_small_is_told_with_the_key(machine, wanted):
    machine(8, 4_000)
    with pytest.raises(ConfigError, match=r"^data\.workers: batches of .*shm-size$"):
        choose_workers(wanted, 1000)


def test_workers_of_a_real_loader_stay_within_the_bound(tmp_path):
    """What lies in shared memory at most while a slow reader takes batches."""
    import time

    import numpy as np
    import torch

    from ssl_dml.data import DataConfig, load_train, make_loader

    for number in range(64):
        np.save(tmp_path / f"{number}.npy", np.zeros((256, 256), np.uint8))
    config = DataConfig(source=str(tmp_path), memory_fraction=0.0, disk_fraction=0.0)
    train = load_train(config)
    size = 16 * int(np.prod(train.decoder.shape))
    before, most = module.shared_memory(), 0
    if before is None:
        pytest.skip("there is no /dev/shm")
    order = [torch.arange(16)] * 12
    for _ in make_loader(train, order, workers=2):
        time.sleep(0.05)
        most = max(most, before - module.shared_memory())
    assert 0 < most <= 1.2 * shared_bytes(2, size)
