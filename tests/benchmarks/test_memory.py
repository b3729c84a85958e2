import time

import torch

from ssl_dml.benchmarks.memory import PeakMemory


def test_sees_what_is_held_and_let_go_again():
    with PeakMemory(torch.device("cpu")) as memory:
        held = torch.ones(20_000_000)  # 76 MB, written so that it is resident
        time.sleep(1.0)  # on a busy machine the watcher has its turn seldom
        del held
    assert 70 < memory.megabytes < 120


def test_nothing_is_little():
    with PeakMemory(torch.device("cpu")) as memory:
        time.sleep(0.05)
    assert memory.megabytes < 5
