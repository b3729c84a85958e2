"""Memory that decoding takes is bounded by bytes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from PIL import Image

from ssl_dml.data import DataConfig, budget, load_train
from ssl_dml.data.dataset import epochs
from ssl_dml.data.decode import ImageDecoder
from ssl_dml.types import ConfigError


def test_large_samples_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr(budget, "share", lambda: 100)
    inside, most, lock = 0, 0, threading.Lock()

    def decode(size):
        nonlocal inside, most
        with budget.sample():
            budget.take(size // 2)
            budget.take(size // 2)
            with lock:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(0.002)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [1000] * 24))
    assert (inside, most) == (0, 1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [50] * 24))
    assert most > 1


def test_a_sample_that_fails_lets_the_next_one_in(monkeypatch):
    monkeypatch.setattr(budget, "share", lambda: 1)
    for _ in range(3):
        with pytest.raises(ValueError, match="damaged"), budget.sample():
            budget.take(10)
            raise ValueError("damaged")


def test_what_no_machine_has_is_refused_at_once():
    with pytest.raises(MemoryError, match="GB"):
        budget.take(10**18)
    decoder = ImageDecoder(channels=10**9, size=1000)
    with pytest.raises(ConfigError, match=r"^data\.channels: 1 of .*need 4,000,000\.0 GB .*lower"):
        budget.refuse_large(decoder, samples=1, key="data.channels")


def test_a_run_that_does_not_fit_names_the_key(tmp_path, monkeypatch):
    for i in range(4):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i}.png")
    config = DataConfig(source=str(tmp_path), batch_size=4)
    train = load_train(config)
    monkeypatch.setattr(budget, "free_memory", lambda: 4 * 4 * 64 - 1)
    with pytest.raises(ConfigError, match=r"^data\.batch_size: 4 of 1x8x8 values need"):
        epochs(train, config, seed=0)
    monkeypatch.setattr(budget, "free_memory", lambda: 4 * 64 - 1)
    with pytest.raises(ConfigError, match=r"^data\.image_size or data\.channels: 1 of 1x8x8"):
        load_train(config)


def test_memory_that_does_not_suffice_names_the_sample(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")

    def short(*_):
        raise MemoryError

    monkeypatch.setattr("ssl_dml.data.images.take", short)
    with pytest.raises(ConfigError, match=r"^sample .*a\.png needs more memory than there is"):
        load_train(DataConfig(source=str(tmp_path), on_error="skip"))


def test_shares_follow_what_is_free(monkeypatch):
    assert budget.LEAST_SHARE <= budget.share() <= budget.SHARE
    free = type("Free", (), {"available": 0, "total": 1})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    assert budget.share() == budget.LEAST_SHARE
